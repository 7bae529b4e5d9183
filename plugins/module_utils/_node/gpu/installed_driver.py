# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The NVIDIA driver of a host: as loaded, and as it lies on disk, however it got there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TypedDict

from ..facts_shape import Driver, GpuHost, KeptDriver, LoadedDriver, Module
from ..kernel import dkms_status, kernels, modinfo
from ..packages import deb_version
from ..system.root import Root
from . import driver_archive

_VERSION = re.compile(r"\b[0-9]+\.[0-9]+(?:\.[0-9]+)*\b")
_MODULE = re.compile(r"(nvidia(?:[-_][\w-]+)?|nv_peer_mem)\.ko(?:\.(?:xz|zst|gz))?")
# What sets the open modules apart: NVIDIA/open-gpu-kernel-modules, kernel-open/nvidia/nv.c,
# MODULE_LICENSE; the proprietary ones say "NVIDIA".
_OPEN_LICENSE = "Dual MIT/GPL"
_LIBRARY = re.compile(r"(?:libcuda|libnvidia-ml)\.so\.([0-9]+(?:\.[0-9]+)+)")
_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    # Debian's, whose alternatives point into one of them.
    "/usr/lib/x86_64-linux-gnu/nvidia",
)


class ModuleFacts(TypedDict):
    """What modinfo says of a module, as docs/facts.md has it."""

    version: str
    open: bool
    depends: list[str]
    signer: str


def survey(tree: Root) -> Driver:
    """Return {loaded, modules, dkms, libraries, runfile, kept}; docs/facts.md has their shape."""
    return {
        "loaded": loaded(tree),
        "modules": modules(tree),
        "dkms": dkms_status.survey(tree),
        "libraries": libraries(tree),
        "runfile": runfile(tree),
        "kept": kept(tree),
    }


def loaded(tree: Root) -> LoadedDriver:
    """Return {version, open} of the module that is loaded; ('', False) for none.

    Its own file tells, and should that be out of sight, sysfs does, where a proprietary module
    taints the kernel with P (Linux, Documentation/ABI/testing/sysfs-module).
    """
    told = tree.lines("/proc/driver/nvidia/version")[:1]
    version = _VERSION.search(told[0]) if told else None
    if version:
        return {"version": version.group(), "open": "Open Kernel Module" in told[0]}
    taint = tree.text("/sys/module/nvidia/taint")
    there = "nvidia" in kernels.loaded_modules(tree)
    return {
        "version": tree.text("/sys/module/nvidia/version") if there else "",
        "open": there and bool(taint) and "P" not in taint,
    }


def modules(tree: Root) -> list[Module]:
    """Return [{kernel, name, path, version, open, depends, signer}] of the modules on disk.

    Those of the driver and nv_peer_mem: not the kernel's own nvidiafb and its like. One call of
    modinfo describes all: it prints one after the other, each begun by its file name, and goes
    on after one that it cannot read (kmod, tools/modinfo.c). A module it says nothing of has
    the fields that its path tells.
    """
    found = [
        (release, path, match.group(1).replace("-", "_"))
        for release in tree.names(kernels.MODULES)
        for path, match in _files(tree, release)
    ]
    told = modinfo.described(tree, [path for _release, path, _name in found])
    rows: list[Module] = [
        {
            "kernel": release,
            # Debian's file is nvidia-current.ko, and the kernel calls the module nvidia.
            "name": told[path].get("name") or name,
            "path": path,
            **module_facts(told[path]),
        }
        for release, path, name in found
    ]
    # Some of the proprietary driver's modules carry a free licence; nvidia.ko speaks for all.
    is_open = {row["kernel"]: row["open"] for row in rows if row["name"] == "nvidia"}
    return [{**row, "open": is_open.get(row["kernel"], row["open"])} for row in rows]


def main_modules(facts: GpuHost) -> dict[str, Module]:
    """Return {release: row} of nvidia.ko on disk, for the kernels that modules are wanted for.

    :param facts: those of gpu_host.survey.
    """
    wanted = {row["release"] for row in kernels.served(facts["kernels"])}
    found: dict[str, Module] = {}
    for row in facts["driver"]["modules"]:
        if row["name"] == "nvidia" and row["kernel"] in wanted:
            found.setdefault(row["kernel"], row)
    return found


def module_facts(fields: Mapping[str, str]) -> ModuleFacts:
    """Return what modinfo says of a module."""
    return {
        "version": fields.get("version", ""),
        "open": fields.get("license") == _OPEN_LICENSE,
        "depends": [part for part in fields.get("depends", "").split(",") if part],
        "signer": fields.get("signer", ""),
    }


def libraries(tree: Root) -> list[str]:
    """Return the versions of libcuda.so and libnvidia-ml.so that are on disk, oldest first."""
    versions = {match.group(1) for _path, match in _library_files(tree, _LIBRARY)}
    return sorted(versions, key=deb_version.key)


def libraries_of(tree: Root, version: str) -> list[str]:
    """Return the paths of the libraries that carry a driver's version in their names."""
    pattern = re.compile(rf"lib[\w.+-]+\.so\.{re.escape(version)}")
    return [path for path, _match in _library_files(tree, pattern)]


def _library_files(tree: Root, pattern: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
    """Return [(path, match)] of the files in the folders of libraries, without links."""
    folders = list(_LIBRARY_FOLDERS)
    folders += [f"{folders[-1]}/{name}" for name in tree.names(folders[-1])]
    return [
        (f"{folder}/{name}", match)
        for folder in folders
        for name in tree.names(folder)
        for match in [pattern.fullmatch(name)]
        if match and not tree.target(f"{folder}/{name}")
    ]


def runfile(tree: Root) -> str:
    """Return the version that a .run installed, '' where none did.

    The first line of the list of what it put in place, such as "1.0-53516108 (535.161.08)";
    an uninstallation removes the list (NVIDIA/nvidia-installer, backup.c).
    """
    first = tree.lines("/var/lib/nvidia/log")[:1]
    match = re.search(r"\(([0-9][0-9.]*)\)", first[0]) if first else None
    return match.group(1) if match else ""


def kept(tree: Root) -> list[KeptDriver]:
    """Return [{version, path, sha256}] of what is kept of drivers, the installed one first."""
    return [
        {"version": row["version"], "path": row["path"], "sha256": row["sha256"]}
        for row in driver_archive.rows(tree)
    ]


def _files(tree: Root, release: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield (path, match of its name) of the modules of one kernel.

    Of the kernel's own tree, which has some thousand folders, the places are searched that an
    installer or a distribution puts the driver in: the .run drivers/video, Ubuntu nvidia-BRANCH.
    """
    top = f"{kernels.MODULES}/{release}"
    for folder, folders, names in os.walk(tree.path(top)):
        inside = os.path.relpath(folder, tree.path(top))
        if inside == "kernel":
            folders[:] = [
                name for name in folders if name == "drivers" or name.startswith("nvidia-")
            ]
        elif inside == "kernel/drivers":
            folders[:] = [name for name in folders if name == "video"]
        folders.sort()
        for name in sorted(names):
            match = _MODULE.fullmatch(name)
            path = os.path.normpath(f"{top}/{inside}/{name}")
            if match and tree.exists(tree.resolve(path)):
                yield path, match
