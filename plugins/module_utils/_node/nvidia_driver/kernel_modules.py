# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel modules of the driver, by DKMS: built for every kernel first, and then installed.

A tree of DKMS is known by its name and version: nvidia/580.95.05 of a .run and of NVIDIA's
repository, nvidia-current/535.261.03 of Debian; its version is that of the modules.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import NamedTuple

from ..facts_shape import Driver, Kernel, Module
from ..gpu import installed_driver
from ..kernel import dkms, dkms_status, modinfo
from ..rdma import symbols
from ..refusal import Refusal
from ..system import disk, files, folders
from ..system.commands import Execute
from ..system.root import Root
from .target import Demands

#: What a .run calls its tree.
OF_RUNFILE = "nvidia"


class Modules(NamedTuple):
    """The modules that are wanted: the name and version of their tree, and target.Demands.

    Those that no DKMS has built have a tree without a name.
    """

    name: str
    version: str
    is_open: bool | None
    signed: bool
    rdma: bool


def of_packages(driver: Driver, version: str, demands: Demands) -> Modules | None:
    """Return the modules of a version that packages brought, None where they did not.

    Debian's open modules have a tree of their own, and so have Ubuntu's proprietary ones for
    servers. Both may be there during an exchange.

    :param driver: what installed_driver.survey returned.
    """
    names = sorted(
        {
            row["name"]
            for row in driver["dkms"]
            if row["version"] == version and re.match(r"nvidia\b", row["name"])
        },
        key=lambda name: (
            name.endswith("-open") != demands.is_open,
            name.endswith("-srv") == demands.is_open,
            name,
        ),
    )
    return Modules(names[0], version, *demands) if names else None


def lacking(tree: Root, driver: Driver, wanted: Modules, kernels: list[str]) -> list[str]:
    """Return those kernels that have not the wanted modules in place, in order.

    The files have the last word: DKMS calls a module installed that it would not put in the
    place of a newer one (v3.0.10, do_install).

    :param tree: the host.
    :param driver: what installed_driver.survey returned.
    :param wanted: the Modules.
    :param kernels: releases.
    """
    installed = {
        row["kernel"]
        for row in driver["dkms"]
        if (row["name"], row["version"], row["state"]) == (*wanted[:2], "installed")
    }
    return [
        kernel
        for kernel in kernels
        if (wanted.name and kernel not in installed)
        or not _is_there(tree, _rows_of(driver, kernel), wanted)
    ]


def replaced(tree: Root, driver: Driver, wanted: Modules, kernels: list[str]) -> list[str]:
    """Return those kernels that have modules in place which are others than the wanted ones.

    :param tree: the host.
    :param driver: what installed_driver.survey returned.
    """
    return [
        kernel
        for kernel in kernels
        for rows in [_rows_of(driver, kernel)]
        if any(row["name"] == "nvidia" for row in rows) and not _is_there(tree, rows, wanted)
    ]


def prebuilt(version: str, demands: Demands) -> Modules:
    """Return the modules of a version that are built already."""
    return Modules("", version, *demands)


def records(wanted: Modules) -> list[str]:
    """Return the paths without which DKMS builds nothing for a kernel that comes later."""
    return [f"{dkms.folder_of(*wanted[:2])}/source/dkms.conf"]


def others(tree: Root, wanted: Modules | None) -> list[tuple[str, str]]:
    """Return [(name, version)] of the driver's further trees and sources, to be removed.

    DKMS builds the greatest of several versions for the next kernel (autoinstall), be it one
    that was left behind. A tree is the driver's where it has its nvidia module. The uninstaller
    of a .run removes a tree, and leaves the sources that it did not bring.

    :param wanted: the Modules that stay, None for none.
    """
    in_dkms = {
        (name, version)
        for name in tree.names(dkms_status.FOLDER)
        for version in tree.names(f"{dkms_status.FOLDER}/{name}")
        if "nvidia" in dkms.modules_of(tree, name, version)
    }
    sources = {
        (name, version)
        for name, dash, version in (found.rpartition("-") for found in tree.names(dkms.SOURCES))
        if dash and folders.is_ours(tree.path(f"{dkms.SOURCES}/{name}-{version}"))
    }
    own = {wanted[:2]} if wanted else set()
    return sorted((in_dkms | sources) - own)


def add(tree: Root, wanted: Modules, folder: str, modules: list[str]) -> None:
    """Put unpacked sources where DKMS takes them from, whole or not at all.

    :param tree: the host.
    :param wanted: the Modules.
    :param folder: the kernel or kernel-open of an unpacked .run, which stays.
    :param modules: the names of its modules, as its manifest has them.
    :raises Refusal: there is no room.
    """
    place = tree.path(dkms.sources_of(*wanted[:2]))
    what = f"add the sources of {wanted.name} {wanted.version}"
    with disk.watched(what, place), folders.replacing(place) as new:
        folders.make(new)
        shutil.copytree(folder, new, symlinks=True, dirs_exist_ok=True)
        path = os.path.join(new, "dkms.conf")
        text = dkms.dkms_conf(files.read_text(path), wanted.version, modules, os.cpu_count() or 1)
        files.write_text(path, text, owner=None, group=None, mode=0o644)


def build(tree: Root, wanted: Modules, kernels: list[Kernel], execute: Execute) -> None:
    """Build the wanted modules for some kernels, and install none.

    What is built whole already is left; what a killed build left half is removed.

    :param tree: the host.
    :param wanted: the Modules; their sources lie in /usr/src.
    :param kernels: rows of kernels.survey.
    :raises Refusal: they cannot be built; it names the kernel and quotes the compiler.
    """
    name, version = wanted[:2]
    if kernels and not tree.exists(f"{dkms.sources_of(name, version)}/dkms.conf"):
        raise Refusal(
            f"build the modules of {name} {version}",
            f"{dkms.sources_of(name, version)} holds no sources for DKMS",
            "Install what brings them again, and run again",
        )
    for kernel in kernels:
        release = kernel["release"]
        if is_built(tree, wanted, release):
            continue
        what = f"build the modules of {name} {version} for kernel {release}"
        done = dkms.build_for(release, wanted[:2], what, tree, execute)
        if done.returncode or not is_built(tree, wanted, release):
            raise dkms.not_built(
                tree, wanted[:2], kernel, what, done, "Choose a driver that builds for this kernel"
            )


def install(tree: Root, wanted: Modules, kernels: list[Kernel], execute: Execute) -> None:
    """Install the wanted modules for those kernels that lack them, whatever is there now.

    They are built where they are not. An older version takes the place of a newer one.

    :param kernels: rows of kernels.survey.
    :raises Refusal: they cannot be installed.
    """
    releases = [kernel["release"] for kernel in kernels]
    left = lacking(tree, installed_driver.survey(tree), wanted, releases)
    build(tree, wanted, [row for row in kernels if row["release"] in left], execute)
    for release in left:
        what = f"install the modules of {wanted.name} {wanted.version} for kernel {release}"
        dkms.install_for(release, wanted[:2], what, tree, execute)
    dkms.forget_before(*wanted[:2], tree)


def prove(tree: Root, wanted: Modules, kernels: list[str]) -> None:
    """Hold every kernel to having the wanted modules, and to loading them rather than others.

    :param kernels: releases.
    :raises Refusal: it names each kernel and what is wrong there.
    """
    driver = installed_driver.survey(tree)
    wrong = [
        f"kernel {kernel} has them not in place"
        for kernel in lacking(tree, driver, wanted, kernels)
    ]
    # Debian's is called nvidia-current, and what asks for nvidia is led there by modprobe.d.
    called = {row["kernel"]: _file_name(row) for row in driver["modules"] if _is_main(row, wanted)}
    # A kernel of which there are only headers has none.
    for kernel in filter(lambda name: tree.exists(f"/lib/modules/{name}/modules.dep"), kernels):
        name = called.get(kernel, "nvidia")
        loads = tree.answer("modinfo", "-k", kernel, "-F", "version", name).strip()
        if loads != wanted.version:
            wrong.append(f"kernel {kernel} would load {loads or 'none'}")
    placed = {
        row["path"]: row["kernel"]
        for row in driver["modules"]
        if row["kernel"] in kernels and row["version"] == wanted.version
    }
    for path, fields in modinfo.described(tree, list(placed)).items():
        built_for = fields.get("vermagic", "").partition(" ")[0]
        if built_for != placed[path]:
            wrong.append(f"{path} is for {built_for or 'no kernel that it names'}")
    if wrong:
        what = f"the modules of {wanted.name or 'driver'} {wanted.version}"
        place = "`dkms status`" if wanted.name else "the packages that bring them"
        raise Refusal(what, "; ".join(wrong), f"Look at {place}, and run again")


def is_built(tree: Root, wanted: Modules, release: str) -> bool:
    """Say whether DKMS has the wanted modules for a kernel, all of them and each one whole.

    A build that was killed while it put them down looks like one that ended (v3.0.10,
    actual_build). Whether they are linked and signed as wanted is told here as well, since both
    are decided by the build.
    """
    files_found = dkms.built_files(tree, *wanted[:2], release)
    told = modinfo.described(tree, list(files_found.values()))
    rows: list[Module] = []
    text = tree.text(f"{dkms.folder_of(*wanted[:2])}/source/dkms.conf")
    for file, name in dkms.module_files(text, wanted.name).items():
        fields = told.get(files_found.get(file, ""), {})
        if not fields.get("vermagic", "").startswith(f"{release} "):
            return False
        facts = installed_driver.module_facts(fields)
        rows.append({"name": name, "path": files_found[file], "kernel": release, **facts})
    return _is_there(tree, rows, wanted)


def _rows_of(driver: Driver, kernel: str) -> list[Module]:
    return [row for row in driver["modules"] if row["kernel"] == kernel]


def _is_main(row: Module, wanted: Modules) -> bool:
    return row["name"] == "nvidia" and row["version"] == wanted.version


def _file_name(row: Module) -> str:
    return os.path.basename(row["path"]).partition(".")[0]


def _is_there(tree: Root, rows: list[Module], wanted: Modules) -> bool:
    """Say whether the modules of one kernel are those wanted.

    Some of the proprietary driver's modules have a free licence: nvidia speaks for all.
    """
    rows = [row for row in rows if row["version"] == wanted.version]
    return (
        any(row["name"] == "nvidia" and wanted.is_open in (None, row["open"]) for row in rows)
        and not (wanted.signed and any(not row["signer"] for row in rows))
        and not (wanted.rdma and any(_registers_nowhere(tree, row) for row in rows))
    )


def _registers_nowhere(tree: Root, row: Module) -> bool:
    """Say whether a module is nvidia_peermem, and not linked to the RDMA core that is there."""
    return row["name"] == "nvidia_peermem" and (
        "ib_core" not in row["depends"] or symbols.is_outdated(tree, row["path"], row["kernel"])
    )
