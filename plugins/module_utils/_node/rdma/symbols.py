# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The symbols of the RDMA stack by which peer memory registers: where they are, and versions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ..facts_shape import Module
from ..kernel import kernels, module_file
from ..refusal import Refusal
from ..system.root import Root
from . import module_fit

_OFED, _OFED_DKMS = "/usr/src/ofa_kernel", "/var/lib/dkms/mlnx-ofed-kernel"
_CLIENT = "ib_register_peer_memory_client"
_NAMED = re.compile(rb"\sib_register_peer_memory_client\s")
_CLIENT_EX = re.compile(rb"struct\s+peer_memory_client_ex\b")
_OF_CLIENTS = ("ib_register_peer_memory_", "ib_unregister_peer_memory_")
# The folders of a kernel in which modules are that it did not come with.
_ADDED = ("updates", "extra", "weak-updates")


def usual_folders(release: str) -> list[str]:
    """Return the folders in which the sources of nv_peer_mem look for themselves."""
    return [
        f"{_OFED}/{release}",
        f"{_OFED}/default",
        f"{kernels.MODULES}/{release}/build",
    ]


def folders_of_any_kernel(tree: Root) -> list[str]:
    """Return the folders in which the driver's build finds that clients can register.

    It takes those of any kernel: NVIDIA/open-gpu-kernel-modules@
    df1c9a3de2be4b130f4fc7680f7198193d8ac6ad:kernel-open/conftest.sh, ib_peer_memory_symbols.
    Kernels of Ubuntu have them without OFED.
    """
    folders = [f"{_OFED}/{name}" for name in tree.names(_OFED)]
    looked_at = [
        f"/lib/modules/{tree.text('/proc/sys/kernel/osrelease')}/build",
        *folders,
        *(f"{folder}/{name}" for folder in folders for name in tree.names(folder)),
        *(f"{_OFED_DKMS}/{version}/build" for version in tree.names(_OFED_DKMS)),
    ]
    return [top for top in looked_at if _NAMED.search(tree.data(f"{top}/Module.symvers"))]


def has_client_ex(tree: Root, folder: str) -> bool:
    """Say whether rdma/peer_mem.h of a folder has struct peer_memory_client_ex."""
    return bool(_CLIENT_EX.search(tree.data(f"{folder}/include/rdma/peer_mem.h")))


def folder_of(tree: Root, release: str) -> str:
    """Return the folder with include/rdma/peer_mem.h and Module.symvers for a kernel.

    That of OFED, as its layouts have had it, or the kernel's own: some of Ubuntu's take clients.

    :raises Refusal: there is none.
    """
    *usual, kernels_own = usual_folders(release)
    folders = [
        *(f"{_OFED}/{machine}/{release}" for machine in tree.names(_OFED)),
        *usual,
        *(f"{_OFED_DKMS}/{version}/build" for version in tree.names(_OFED_DKMS)),
        kernels_own,
    ]
    for top in folders:
        header = f"{top}/include/rdma/peer_mem.h"
        if tree.exists(header) and _CLIENT in tree.text(f"{top}/Module.symvers"):
            return top
    raise Refusal(
        f"peer memory for kernel {release}",
        f"no RDMA stack is there that takes peer memory clients: none of {', '.join(folders)} has "
        f"include/rdma/peer_mem.h and a Module.symvers with {_CLIENT}",
        "Install MLNX_OFED with its files to build with (mlnx-ofa_kernel-devel, mlnx-ofed-kernel)",
    )


def providers(tree: Root, release: str, top: str) -> list[module_fit.Provider]:
    """Return the module_fit.Providers of the RDMA stack for a kernel.

    The modules that lie there for it have the first word, and then what its build wrote down.

    :param top: as :func:`folder_of` returns it.
    """
    path = f"{top}/Module.symvers"
    written = module_file.of_symvers(tree.data(path).decode("utf-8", "replace"))
    # Not those of the kernel, of whom the folder need not be the build.
    written = {symbol: row for symbol, row in written.items() if symbol.startswith("ib_")}
    exporter = os.path.basename(written.get(_CLIENT, (0, "ib_core"))[1])
    found = []
    for added in _ADDED:
        modules = tree.path(f"{kernels.MODULES}/{release}/{added}")
        for place, _folders, names in sorted(os.walk(modules)):
            for name in sorted(names):
                if re.fullmatch(rf"{re.escape(exporter)}\.ko(?:\.\w+)?", name):
                    module = module_file.read(os.path.join(place, name))
                    found.append(module_fit.Provider(module.path, module.exports))
    versions: dict[str, int | None] = {
        symbol: version for symbol, (version, _module) in written.items()
    }
    return [*found, module_fit.Provider(path, versions)]


def outdated(tree: Root, modules: Iterable[Module]) -> list[str]:
    """Return the releases of the kernels whose nvidia_peermem would not load, see is_outdated.

    :param modules: rows of installed_driver.modules.
    """
    return [
        row["kernel"]
        for row in modules
        if row["name"] == "nvidia_peermem" and is_outdated(tree, row["path"], row["kernel"])
    ]


def is_outdated(tree: Root, path: str, release: str) -> bool:
    """Say whether a module was built with the symbols of another RDMA stack than is there.

    It would not load. One that was built without any wants none of them, and is not.

    :param path: of the module.
    :param release: of the kernel that it is for.
    """
    try:
        module = module_file.read(tree.path(path), tree.run)
        found = providers(tree, release, folder_of(tree, release))
    except Refusal:
        return False
    return bool(module_fit.mismatches(module, _OF_CLIENTS, found))
