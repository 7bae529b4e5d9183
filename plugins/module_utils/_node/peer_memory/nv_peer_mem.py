# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nv_peer_mem, and what a build of it takes from a host: the driver's module and header, and OFED.

What is said of its sources holds for Mellanox/nv_peer_memory 1.1-0 (4ed7715) and 1.3-0 (a15f0f6).
"""

from __future__ import annotations

import os
import re
from typing import Callable, NamedTuple

from ..facts_shape import Module
from ..kernel import kernels, module_file
from ..rdma import symbols
from ..refusal import Refusal
from ..system import safe_paths
from ..system.root import Root
from .wanted import DriverParts

NAME = "nv_peer_mem"
CONF = f"/etc/dkms/{NAME}.conf"
MARK = "# Written by gpunode; what is changed here by hand is lost.\n"

# What goes through dkms.conf, make, its environment and the shell as it is.
_PATH = re.compile(r"/[\w./+@~-]+")
# Where the GPU Operator's driver container has its root (NVIDIA/gpu-driver-container).
_CONTAINER = "/run/nvidia/driver"
_MODULE_FILE = re.compile(r"nvidia\.ko(?:\.(?:xz|zst|gz))?")
_HEADER = "nvidia/nv-p2p.h"


class BuildInputs(NamedTuple):
    """What the module for one kernel is built with.

    :ivar release: of the kernel.
    :ivar module: the path of the driver's module.
    :ivar source: the folder with its header.
    :ivar ofed: the folder with the RDMA stack's Module.symvers.
    """

    release: str
    module: str
    source: str
    ofed: str


class Order(NamedTuple):
    """What is to be built.

    :ivar tag: '' where nothing is.
    :ivar made_from: the digest of its archive and patches.
    :ivar patches: {name: text}.
    :ivar driver: the version of the driver.
    :ivar releases: those of the kernels.
    :ivar inputs: the BuildInputs of those kernels of which they are known.
    :ivar unpack: makes its sources with their patches in a folder that is not there yet.
    """

    tag: str
    made_from: str
    patches: dict[str, str]
    driver: str
    releases: list[str]
    inputs: list[BuildInputs]
    unpack: Callable[[str], object]


#: Nothing is to be built.
NO_ORDER = Order("", "", {}, "", [], [], len)


def build_inputs(tree: Root, release: str, modules: list[Module], said: DriverParts) -> BuildInputs:
    """Return the BuildInputs of one kernel.

    :param tree: the host.
    :param modules: rows of installed_driver.modules.
    :param said: what the options say of the driver.
    :raises Refusal: something is not there.
    """
    module = driver_module(tree, release, modules, said["module"])
    version = module_file.read(tree.path(module)).info.get("version", "")
    source = _source(tree, release, version, said["source"], module)
    return BuildInputs(release, module, source, symbols.folder_of(tree, release))


def driver_module(tree: Root, release: str, modules: list[Module], said: str = "") -> str:
    """Return the path of the driver's module for a kernel, be it that of a driver container.

    :raises Refusal: there is none.
    """
    row = next((r for r in modules if (r["kernel"], r["name"]) == (release, "nvidia")), None)
    path = said or (row["path"] if row else _in_container(tree, release))
    if not path or not tree.exists(path):
        raise Refusal(
            f"nv_peer_mem for kernel {release}",
            f"the module of the driver, {said or 'nvidia.ko'}, is not there"
            + ("" if said else f": {kernels.MODULES} and {_CONTAINER} have none for this kernel"),
            "Install the driver for this kernel, or say peer_memory_driver_module: PATH",
        )
    return path


def _in_container(tree: Root, release: str) -> str:
    """Return the path of the module that a driver container has, '' for none."""
    top = f"{_CONTAINER}{kernels.MODULES}/{release}"
    for folder, _folders, names in sorted(os.walk(tree.path(top))):
        for name in filter(_MODULE_FILE.fullmatch, names):
            return os.path.normpath(f"{top}/{os.path.relpath(folder, tree.path(top))}/{name}")
    return ""


def _source(tree: Root, release: str, version: str, said: str, module: str) -> str:
    """Return the folder of the driver's sources that has nvidia/nv-p2p.h in it.

    A .run that was unpacked has it in kernel or kernel-open, as have packages of some versions.

    :raises Refusal: there is none of this version.
    """
    root = _CONTAINER if module.startswith(_CONTAINER) else ""
    folders = [said] if said else _folders(tree, root, version)
    if said:
        # What is compiled becomes a part of the kernel.
        what = f"nv_peer_mem for kernel {release}"
        safe_paths.refuse_unsafe_tree(what, tree.path(said), "peer_memory_driver_source")
    for folder in folders:
        for place in (folder, f"{folder}/kernel", f"{folder}/kernel-open"):
            if tree.exists(f"{place}/{_HEADER}"):
                return place
    raise Refusal(
        f"nv_peer_mem for kernel {release}",
        f"the header {_HEADER} of driver {version} is in none of "
        f"{', '.join(folders) or f'{root}/usr/src/nvidia-{version}'}",
        "Install the sources of the driver, or say peer_memory_driver_source: FOLDER, such as the "
        "kernel folder of its unpacked .run",
    )


def _folders(tree: Root, root: str, version: str) -> list[str]:
    """Return the folders in which sources of one version of the driver are looked for."""
    sources, dkms = f"{root}/usr/src", "/var/lib/dkms"
    return [
        *(
            f"{sources}/{name}"
            for name in tree.names(sources)
            if name.startswith("nvidia") and name.endswith(f"-{version}")
        ),
        *(
            f"{dkms}/{name}/{version}/source"
            for name in tree.names(dkms)
            if name.startswith("nvidia")
            and tree.exists(f"{dkms}/{name}/{version}/source/{_HEADER}")
        ),
    ]


def refuse_tag(tag: str, needs_client_ex: bool, folders: dict[str, bool]) -> None:
    """Refuse a tag that does not build with the RDMA stack of the host.

    :param needs_client_ex: whether it demands struct peer_memory_client_ex.
    :param folders: {folder of the RDMA stack's header: whether that has the struct}.
    :raises Refusal: it does not.
    """
    for folder, has_client_ex in folders.items():
        if needs_client_ex and not has_client_ex:
            raise Refusal(
                f"nv_peer_mem {tag}",
                f"{folder}/include/rdma/peer_mem.h has no struct peer_memory_client_ex, as "
                "MLNX_OFED has it since 5.4-3",
                "Say gpunode_peer_memory_tag: 1.1-0",
            )


def conf(patches: list[str], awaited: list[str], inputs: list[BuildInputs]) -> str:
    """Return the text of CONF, which adds to the dkms.conf of the sources.

    For a kernel that comes later DKMS looks for driver and OFED where they usually are.

    :param patches: the names of the patches, in their order.
    :param awaited: the names of the trees of DKMS that it is to wait for, maybe none.
    :param inputs: the BuildInputs of the kernels that are there.
    :raises Refusal: a path has a character that does not come through.
    """
    cases = [(row.release, make_variables(row)) for row in inputs]
    lines = [f'PATCH[{number}]="{name}"\n' for number, name in enumerate(patches)]
    # What the sources wait for themselves, mlnx-ofed-kernel, is in DKMS for one kind of OFED only.
    lines += [f'BUILD_DEPENDS[{n}]="{name}"\n' for n, name in enumerate(awaited or [""])]
    lines.append('MAKE="make all KVER=$kernelver KDIR=$kernel_source_dir"\n')
    if any(variables for _release, variables in cases):
        lines.append('case "$kernelver" in\n')
        lines += [f'{name}) MAKE="$MAKE {words}" ;;\n' for name, words in cases if words]
        lines.append("esac\n")
    return MARK + "".join(lines)


def make_variables(row: BuildInputs) -> str:
    """Return what make is told about one kernel: where things are that it would not find.

    :param row: the BuildInputs of the kernel.
    :raises Refusal: a path has a character that does not come through.
    """
    found = {}
    if not (
        row.module.startswith(f"{kernels.MODULES}/{row.release}/")
        and _MODULE_FILE.fullmatch(os.path.basename(row.module))
    ):
        found["NV_MODULE"] = row.module
    if os.path.dirname(row.source) != "/usr/src":
        found["nv_sources"] = row.source
    if row.ofed not in symbols.usual_folders(row.release):
        found["OFA_KERNEL"] = row.ofed
    for path in found.values():
        if not _PATH.fullmatch(path):
            raise Refusal(
                f"nv_peer_mem for kernel {row.release}: {path!r}",
                "a path that make is told may have letters, digits and ./_+@~- in it",
                "Give it such a name, or a link that has one",
            )
    return " ".join(f"{name}={path}" for name, path in found.items())
