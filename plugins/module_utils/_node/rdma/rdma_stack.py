# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RDMA on a host: its devices, whose stack drives them, and how GPU memory gets registered.

A vendor's stack brings the RDMA core's module ib_core beside the kernel's own, in one of these
folders of /lib/modules/RELEASE:

    updates/dkms                      by DKMS on Debian and Ubuntu; knneth/mlnx-ofa_kernel@0e5add8:
                                      ofed_scripts/generate_dkms_conf.sh names kernel/..., in place
                                      of which dkms (dkms.in, override_dest_module_location) takes
                                      the folder of the distribution
    updates/drivers/infiniband/core   the Debian package mlnx-ofed-kernel-modules; same commit,
                                      debian/rules, INSTALL_MOD_DIR
    extra/mlnx-ofa_kernel/drivers/infiniband/core
                                      RPM on Enterprise Linux, on others updates/...;
                                      microsoft/azurelinux@0097e27:SPECS/mlnx-ofa_kernel/
                                      mlnx-ofa_kernel.spec, install_mod_dir
    weak-updates/mlnx-ofa_kernel/drivers/infiniband/core
                                      links to the former of another kernel, by weak-modules; same
                                      file, which has depmod prefer both to the kernel's own

Devices are read as Documentation/ABI/stable/sysfs-class-infiniband of the Linux kernel has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..facts_shape import (
    Module,
    Package,
    PeerMemory,
    RdmaDevice,
    RdmaPort,
    RdmaStack,
    RdmaStackKind,
)
from ..gpu import pci
from ..kernel import kernels, modprobe, module_file
from ..packages import deb_version
from ..refusal import Refusal
from ..system.root import Root
from . import peer_route, symbols

_DEVICES = "/sys/class/infiniband"

# The names `ofed_info -s` puts before the version. DOCA's is that of the bundle it is built from:
# https://linux.mellanox.com/public/repo/doca/3.2.2/SOURCES/mlnx_ofed/OFED-internal-25.10-2.4.1.tgz
_KINDS = {"MLNX_OFED_LINUX": "mlnx_ofed", "OFED-internal": "doca"}
#: What each kind of stack is called for people.
CALLED = {"mlnx_ofed": "MLNX_OFED", "doca": "DOCA-OFED", "inbox": "the distribution's own"}
# DOCA Documentation 3.2.0, "DOCA Profiles". The package doca-host, which brings no more than their
# repository, is none of them. Of what Canonical has in the archive of Ubuntu 26.04 modules may be
# there alone (packages.ubuntu.com, linux-modules-doca-ofed-3.4-generic), and drive the devices.
_DOCA_PROFILE = re.compile(
    r"doca-(?:all|networking|ofed|roce|host-basic).*|linux-(?:main-)?modules-doca-ofed-.+"
)

# The package of its modules or of their sources, on Debian's family and on Enterprise Linux. Its
# version is that of ofed_info: 25.10.OFED.25.10.1.7.1.1-1 with OFED-internal-25.10-1.7.1, and
# 26.04-OFED.26.04.0.8.5.1.el9. That is so up to 26.04; of DOCA 4.0 nobody knows yet.
_MODULES_PACKAGE = re.compile(r"mlnx-ofed-kernel-(?:dkms|modules)|mlnx-ofa_kernel")
_MODULES_VERSION = re.compile(r"(\d+\.\d+)[.-]OFED\.\1\.(\d+\.\d+\.\d+)\b.*")
# Canonical's own, which have the series in their names: doca-ofed-26.01-dkms,
# linux-modules-doca-ofed-26.01-azure (Azure/azhpc-images, components/install_doca.sh), and the
# metapackages of the kernels' flavours, such as doca-ofed-generic (Ubuntu Server documentation,
# "Install and maintain DOCA-OFED"), in their versions.
_SERIES = r"(\d\d\.(?:0[1-9]|1[0-2]))"
_SERIES_IN_NAME = re.compile(rf"(?:linux-modules-)?doca-ofed-{_SERIES}(?:-.+)?")
_OF_FLAVOUR = re.compile(r"doca-ofed-[a-z]+(?:-.+)?")
_SERIES_IN_VERSION = re.compile(rf"(?:\d+:)?{_SERIES}(?:[-.+~].*)?")

_CORE = "ib_core"
_CORE_FILE = re.compile(rf"{_CORE}\.ko(?:\.(?:xz|zst|gz))?")
# modules.dep(5): the path of a module, from the folder of its kernel on, and of what it depends on.
_CORE_TO_LOAD = re.compile(rf"^((?:.*/)?{_CORE_FILE.pattern}):", re.MULTILINE)

#: The first wins, modules-load.d(5). Where /lib is no link to /usr/lib, systemd reads both.
FOLDERS_AT_BOOT = (
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
    "/lib/modules-load.d",
)


def devices(tree: Root) -> list[RdmaDevice]:
    """Return one row per RDMA device, its ports and the network interfaces on it included."""
    return [_device(tree, name) for name in tree.names(_DEVICES)]


def survey(tree: Root, packages: Sequence[Package], running: str) -> RdmaStack:
    """Return {kind, version, kernels, loaded, stale, idle} of the RDMA stack; see docs/facts.md.

    :param packages: rows of stack_packages.survey.
    :param running: the release of the kernel that the host runs as its own, '' for none.
    """
    found = stack(tree, packages)
    return {
        **found,
        "kernels": [] if found["kind"] == "inbox" else kernels_of(tree),
        "loaded": bool(running) and is_loaded(tree),
        "stale": bool(running) and is_stale(tree, running),
        "idle": pci.idle_adapters(tree) if running else [],
    }


def stack(tree: Root, packages: Sequence[Mapping[str, Any]]) -> RdmaStackKind:
    """Return {kind, version} of what drives the RDMA devices; see docs/facts.md.

    DOCA-Host leaves ofed_info out from 4.0 on (openucx/ucx, pull request 11538), so that its
    packages must tell: a profile that it is there, and that of the modules its version.

    :param packages: rows of stack_packages.survey.
    """
    told = tree.answer("ofed_info", "-s") if tree.has_program("ofed_info") else ""
    answer = re.match(r"(\S+?)-(\d\S*?):?\s", told + "\n")
    if answer and answer.group(1) in _KINDS:
        return {"kind": _KINDS[answer.group(1)], "version": answer.group(2)}
    if not any(_DOCA_PROFILE.fullmatch(row["name"]) for row in packages):
        return {"kind": "inbox", "version": ""}
    versions = {row["name"]: row["version"] for row in packages}
    return {"kind": "doca", "version": modules_version(versions)}


def modules_version(packages: Mapping[str, str]) -> str:
    """Return the version of a stack by that of the package of its modules, '' where none tells.

    Of what Canonical packages it is the series alone.

    :param packages: {name: version}.
    """
    for name, version in packages.items():
        told = _MODULES_PACKAGE.fullmatch(name) and _MODULES_VERSION.fullmatch(version)
        if told:
            return "-".join(told.groups())
    for name, version in packages.items():
        series = _SERIES_IN_NAME.fullmatch(name) or (
            _OF_FLAVOUR.fullmatch(name) and _SERIES_IN_VERSION.fullmatch(version)
        )
        if series:
            return series.group(1)
    return ""


def described(found: RdmaStackKind) -> str:
    """Return an RDMA stack in words; of one that is half installed the version cannot be told.

    :param found: what :func:`stack` returned, or what is wanted.
    """
    return f"{found['kind']} {found['version']}".strip()


def called(wanted: RdmaStackKind) -> str:
    """Return a wanted RDMA stack in words, by the name that its vendor gives it."""
    return f"{CALLED[wanted['kind']]} {wanted['version']}".rstrip()


def kernels_of(tree: Root) -> list[str]:
    """Return the releases for which a vendor's RDMA core is on disk, newest first."""
    return list(dict.fromkeys(release for release, _path in _vendor_cores(tree)))


def vendor_cores(tree: Root) -> list[str]:
    """Return the paths of a vendor's RDMA core, those of the newest kernel first."""
    return [path for _release, path in _vendor_cores(tree)]


def _vendor_cores(tree: Root) -> list[tuple[str, str]]:
    """Return [(release, path)]."""
    releases = sorted(tree.names(kernels.MODULES), key=deb_version.kernel_key, reverse=True)
    return [
        (release, path)
        for release in releases
        for path in kernels.beside_own(tree, release)
        if _CORE_FILE.fullmatch(os.path.basename(path))
    ]


def is_loaded(tree: Root) -> bool:
    """Say whether the RDMA core is loaded, be it as a module of this host's kernel or another's."""
    return _CORE in kernels.loaded_modules(tree)


def is_stale(tree: Root, running: str) -> bool:
    """Say whether the RDMA core that is loaded is another build than modprobe would load now.

    :param running: the release of the kernel that runs.
    """
    path = _core_to_load(tree, running)
    return bool(path) and is_loaded(tree) and _is_another_build(tree, _CORE, path)


def _is_another_build(tree: Root, name: str, path: str) -> bool:
    """Say whether a module that is loaded is another build than a file.

    The build id tells; where the file or the loaded module has none, the checksum over the sources
    does (Linux, scripts/mod/sumversion.c), which not every kernel gives its modules.
    """
    try:
        file = module_file.read(tree.path(path), tree.run)
    except Refusal:
        return False
    sysfs = f"/sys/module/{name}"
    notes = tree.data(f"{sysfs}/notes/.note.gnu.build-id")
    for loaded, on_disk in (
        (module_file.build_id(notes), file.build_id),
        (tree.text(f"{sysfs}/srcversion"), file.info.get("srcversion", "")),
    ):
        if loaded and on_disk:
            return loaded != on_disk
    return False


def _core_to_load(tree: Root, release: str) -> str:
    """Return the path of the RDMA core that modprobe loads for a kernel, '' where there is none.

    Among modules of one name depmod has chosen, by depmod.d(5).
    """
    top = f"{kernels.MODULES}/{release}"
    named = _CORE_TO_LOAD.search(tree.text(f"{top}/modules.dep"))
    path = os.path.join(top, named.group(1)) if named else ""
    return path if path and tree.exists(path) else ""


def peer_memory(tree: Root, modules: Sequence[Module], running: str) -> PeerMemory:
    """Return which modules and clients register GPU memory with the RDMA core, now and at boot.

    Of those that are loaded ``in_use`` has the ones that somebody uses, and ``stale`` the ones that
    are another build than the one on disk. ``headers`` says whether a driver that is built here
    gets the symbols for it, ``client_ex`` whether clients can register as nv_peer_mem does since
    1.2-0, and ``outdated`` has the kernels whose nvidia_peermem would not load with that stack.

    :param modules: rows of installed_driver.modules.
    :param running: the release of the kernel that the host runs as its own, '' for none.
    """
    loaded = _peer_memory_modules(kernels.loaded_modules(tree))
    folders = symbols.folders_of_any_kernel(tree)
    return {
        "loaded": loaded,
        "in_use": [name for name in loaded if not modprobe.is_unused(name, tree)],
        "stale": [
            row["name"]
            for row in modules
            if row["name"] in loaded
            and row["kernel"] == running
            and _is_another_build(tree, row["name"], row["path"])
        ],
        "clients": tree.names("/sys/kernel/mm/memory_peers"),
        "at_boot": _peer_memory_modules(_modules_at_boot(tree)),
        "headers": bool(folders),
        "client_ex": any(symbols.has_client_ex(tree, folder) for folder in folders),
        "outdated": symbols.outdated(tree, modules),
    }


def _device(tree: Root, name: str) -> RdmaDevice:
    folder = f"{_DEVICES}/{name}"
    return {
        "name": name,
        "address": tree.target(f"{folder}/device"),
        "driver": tree.target(f"{folder}/device/driver"),
        "firmware": tree.text(f"{folder}/fw_ver"),
        "board": tree.text(f"{folder}/board_id"),
        "sriov_total": tree.number(f"{folder}/device/sriov_totalvfs"),
        "sriov_active": tree.number(f"{folder}/device/sriov_numvfs"),
        "interfaces": tree.names(f"{folder}/device/net"),
        "ports": [_port(tree, folder, number) for number in _numbers(tree, f"{folder}/ports")],
    }


def _port(tree: Root, device: str, number: int) -> RdmaPort:
    folder = f"{device}/ports/{number}"
    rate = re.match("[0-9]{1,9}", tree.text(f"{folder}/rate"))
    pkeys = [tree.text(f"{folder}/pkeys/{index}") for index in _numbers(tree, f"{folder}/pkeys")]
    return {
        "port": number,
        "state": tree.text(f"{folder}/state").partition(": ")[2],
        "link_layer": tree.text(f"{folder}/link_layer"),
        "rate_gbps": int(rate.group()) if rate else 0,
        "pkeys": [pkey for pkey in pkeys if pkey not in ("", "0x0000")],
    }


def _numbers(tree: Root, folder: str) -> list[int]:
    """Return the names in a folder that are numbers, as such and in their order."""
    return sorted(int(name) for name in tree.names(folder) if re.fullmatch("[0-9]{1,9}", name))


def _peer_memory_modules(names: Iterable[str]) -> list[str]:
    """Return those of the modules that register GPU memory; '-' and '_' are one in their names."""
    written = {name.replace("-", "_") for name in names}
    return [module for module in peer_route.MODULES if module in written]


def _modules_at_boot(tree: Root) -> set[str]:
    """Return the words that begin the lines by which systemd and Debian load modules at boot.

    Comments give words as well, which are no names of modules.
    """
    return {line.split()[0] for path in files_at_boot(tree) for line in tree.lines(path)}


def files_at_boot(tree: Root) -> list[str]:
    """Return the paths of the files whose lines name modules that are loaded at boot."""
    found = {}
    for folder in reversed(FOLDERS_AT_BOOT):
        names = [name for name in tree.names(folder) if name.endswith(".conf")]
        found.update({name: f"{folder}/{name}" for name in names})
    return ["/etc/modules", *found.values()]
