# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host that a part of the GPU stack is brought to."""

from __future__ import annotations

import collections
import functools
import os

from ansible_collections.gpunode.stack.plugins.module_utils import (
    child,
    gpu_host,
    host,
    transient,
    tree,
)

# Its tree.Tree, what returns its facts as they are now, what runs long commands, (argv,
# environment) -> CompletedProcess with text, and what answers short questions, with the signature
# of child.run.
Host = collections.namedtuple("Host", "tree facts execute run")


def of(module, name):
    """Return the Host that a module runs on.

    :param module: the AnsibleModule.
    :param name: the component, whose long commands run in a unit called after it.
    """
    return Host(
        tree.Tree(),
        functools.partial(_facts, module),
        functools.partial(transient.execute, name),
        child.run,
    )


def _facts(module):
    """Return the general facts and all that is to be seen of GPUs, drivers and RDMA now."""
    general = host.general(module)
    own_kernel = host.own_kernel()
    running = general["kernel"] if own_kernel else ""
    return {**general, "own_kernel": own_kernel, **gpu_host.survey("/", running, os.getpid())}
