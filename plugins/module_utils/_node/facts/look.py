# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one look at a host that a plan takes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Sequence

from ..conda import path_state
from ..facts_shape import Facts
from ..records import receipts
from ..system import accounts, commands, listening, own_paths, shares, systemd
from ..system import root as root_folder
from ..system.open_files import OpenFiles
from ..system.root import Root
from . import general as host
from . import gpu_host, guards

# What is looked at of each host beside programs, and may lie on a share.
_PLACES = ("/boot", "/lib/modules", "/usr/local/lib", "/usr/src", "/var/lib/dkms")


def facts(
    paths: Collection[str] = (),
    users: Iterable[str] = (),
    units: Sequence[str] = (),
    root: str = "/",
) -> Facts:
    """Return all facts of this host; see docs/architecture.md for their shape.

    :param root: the folder that stands for / in what is said of GPUs, driver, kernels and RDMA; no
        program of another one than / is run.
    :raises Refusal: this does not run as root, and / is looked at; or a share does not answer on
        which lies what is asked for, what receipts name, or what is looked at of each host.
    """
    if root == "/" and not accounts.is_root():
        raise accounts.not_root()
    shares.refuse_silent(
        itertools.chain(paths, root_folder.PATH.split(":"), _PLACES, receipts.paths())
    )
    general = host.general(Root())
    own_kernel = host.own_kernel()
    running = general["kernel"] if own_kernel else ""
    run = commands.run if root == "/" else gpu_host.no_programs
    files = OpenFiles()
    return {
        **general,
        **gpu_host.survey(root, running, os.getpid(), run, files if root == "/" else None),
        "own_kernel": own_kernel,
        "processor_nproc": host.processors(Root()),
        "memtotal_mb": host.memory_mib(Root()),
        "selinux": guards.selinux(Root()),
        "firewalld": guards.firewalld(Root()),
        "mounts": host.mounts(),
        "paths": {path: path_state.of(path, own_paths.STATE_DIR) for path in paths},
        "users": accounts.survey(users),
        "units": systemd.files_of(units),
        "listening": listening.survey(files=files),
        "receipts": receipts.survey(),
    }
