# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host that a part of the GPU stack is brought to."""

from __future__ import annotations

import collections
import functools
import os

from ..facts import general as host
from ..facts import gpu_host
from ..system import commands, disk, root, transient_unit
from . import at_work

# Its root.Root, what returns its facts as they are now, what runs long commands, (argv,
# environment) -> CompletedProcess with text, and what answers short questions, with the signature
# of commands.run.
Host = collections.namedtuple("Host", "tree facts execute run")
# A part of the stack: the component, after which the unit of its long commands is called; what it
# is and what is done to it in words, for messages; and how long in seconds a command of an earlier
# run may go on.
Part = collections.namedtuple("Part", "name title purpose settle_s")


def bring(module, part, converge):
    """Do the work of a module that brings a part of the stack to a host, and exit it.

    Nobody else is at work on the host meanwhile, nor what an earlier run began and was cut from.

    :param module: the AnsibleModule, with ``wanted``; where that is unsaid nothing is done.
    :param part: the Part.
    :param converge: returns the module's result for a Host; its ``warnings`` are shown.
    """
    result = {"changed": False, "changes": [], "diff": [], "manifest": []}
    with (
        at_work.at_work(module, part.purpose),
        disk.watched(part.title, "/usr and /var"),
    ):
        if not module.check_mode:
            transient_unit.settle(part.name, part.settle_s)
        if module.params["wanted"]["state"] != "unsaid":
            result = converge(_of(module, part.name))
    for says in result.pop("warnings", []):
        module.warn(says)
    module.exit_json(**result)


def _of(module, name):
    """Return the Host that a module runs on.

    :param module: the AnsibleModule.
    :param name: the component, whose long commands run in a unit called after it.
    """
    return Host(
        root.Root(),
        functools.partial(_facts, module),
        functools.partial(transient_unit.execute, name),
        commands.run,
    )


def _facts(module):
    """Return the general facts and all that is to be seen of GPUs, drivers and RDMA now."""
    general = host.general(module)
    own_kernel = host.own_kernel()
    running = general["kernel"] if own_kernel else ""
    return {**general, "own_kernel": own_kernel, **gpu_host.survey("/", running, os.getpid())}
