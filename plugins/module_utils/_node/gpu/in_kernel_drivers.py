# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's own drivers for NVIDIA GPUs, which take a GPU before NVIDIA's driver can."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ..facts_shape import InKernelDriver, InKernelDrivers
from ..kernel import kernels
from ..system import files
from ..system.root import Root

NAMES = ("nouveau", "nova_core")
CACHE = "/var/cache/gpunode/initramfs.json"
# modprobe.d(5); of files with one name the first counts.
_FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
_NEVER = (["/bin/false"], ["/bin/true"], ["/usr/bin/false"], ["/usr/bin/true"])
_PARAMETERS = ("modprobe.blacklist", "module_blacklist")
_IMAGE = re.compile(r"initrd\.img-(.+)|initramfs-(.+)\.img")
# The programs of initramfs-tools and of dracut; a large image takes seconds to unpack.
_LISTERS = ("lsinitramfs", "lsinitrd")
_PATIENCE_S = 60


def survey(tree: Root) -> InKernelDrivers:
    """Return {name: {loaded, blacklisted, initramfs}} for nouveau and nova_core.

    ``blacklisted``: udev will not load it when it finds a GPU, since a file of modprobe.d has
    `blacklist NAME` or `install NAME /bin/false`, or the kernel's command line has
    modprobe.blacklist= or module_blacklist=. rd.driver.blacklist= by itself does not count:
    dracut writes it into the modprobe.d of the initramfs, which is gone when udev looks again
    (dracut 059, 90kernel-modules/parse-kernel.sh). Nor does any of this say what an initramfs
    took in of modprobe.d; ``initramfs`` names the kernels whose image holds the module at all.
    """
    loaded, blacklisted = kernels.loaded_modules(tree), _blacklisted(tree)
    holders = _holders(tree)

    def row(name: str) -> InKernelDriver:
        return {
            "loaded": name in loaded,
            "blacklisted": name in blacklisted,
            "initramfs": sorted(kernel for kernel, held in holders.items() if name in held),
        }

    return {"nouveau": row("nouveau"), "nova_core": row("nova_core")}


def by_name(found: InKernelDrivers) -> dict[str, InKernelDriver]:
    """Return {name: what is told of it}.

    :param found: what :func:`survey` returned.
    """
    return {"nouveau": found["nouveau"], "nova_core": found["nova_core"]}


def _blacklisted(tree: Root) -> set[str]:
    """Return the names of the modules that nothing loads on its own."""
    found = set()
    paths: dict[str, str] = {}
    for folder in _FOLDERS:
        for name in tree.names(folder):
            if name.endswith(".conf"):
                paths.setdefault(name, f"{folder}/{name}")
    for path in paths.values():
        for words in map(str.split, tree.lines(path)):
            never = words[0] == "install" and words[2:] in _NEVER
            if len(words) > 1 and (never or words[0] == "blacklist"):
                found.add(words[1])
    for parameter in tree.text("/proc/cmdline").split():
        name, _equals, values = parameter.partition("=")
        if name in _PARAMETERS:
            found.update(values.split(","))
    return {name.replace("-", "_") for name in found}


def _holders(tree: Root) -> dict[str, list[str]]:
    """Return {kernel: [driver that its initramfs holds]}.

    An image is listed once and then known by its inode, size and time: the cache is the only
    thing that the facts write. A cache that cannot be read or written costs time and no more.
    """
    installed = tree.names(kernels.MODULES)
    known = _known(tree)
    seen: dict[str, dict[str, Any]] = {}
    for name in tree.names("/boot"):
        match = _IMAGE.fullmatch(name)
        kernel = (match.group(1) or match.group(2)) if match else ""
        path = f"/boot/{name}"
        # Not a copy kept aside, nor an image for rescue or for crash dumps.
        mark = _mark(tree, path) if kernel in installed else None
        if not mark:
            continue
        old = known.get(path)
        if isinstance(old, dict) and old.get("mark") == mark:
            held = old.get("holds")
        else:
            held = _listed(tree, path)
        if isinstance(held, list):
            seen[path] = {"kernel": kernel, "mark": mark, "holds": held}
    if seen != known:
        _remember(tree, seen)
    return {image["kernel"]: image["holds"] for image in seen.values()}


def _mark(tree: Root, path: str) -> list[int] | None:
    """Return what changes when a file does, None where there is no such file."""
    try:
        status = os.stat(tree.path(path))
    except (OSError, ValueError):
        return None
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _listed(tree: Root, path: str) -> list[str] | None:
    """Return those of the drivers that an image holds, None where no program can tell."""
    for lister in _LISTERS:
        names = tree.answer(lister, tree.path(path), patience_s=_PATIENCE_S)
        if names:
            found = {name.replace("-", "_") for name in re.findall(r"/([\w-]+)\.ko\b", names)}
            return [name for name in NAMES if name in found]
    return None


def _known(tree: Root) -> dict[str, Any]:
    try:
        known = files.parsed(tree.text(CACHE))
    except ValueError:
        return {}
    rows = known.items() if isinstance(known, dict) else ()
    return {path: row for path, row in rows if _is_sound(row)}


def _is_sound(row: object) -> bool:
    """Say whether a row of the cache is one, whoever wrote it."""
    if not isinstance(row, dict) or not isinstance(row.get("mark"), list):
        return False
    held = row.get("holds")
    return held is None or (isinstance(held, list) and all(name in NAMES for name in held))


def _remember(tree: Root, images: Mapping[str, Any]) -> None:
    try:
        os.makedirs(os.path.dirname(tree.path(CACHE)), exist_ok=True)
        files.write_text(tree.path(CACHE), json.dumps(images), owner=None, group=None)
    except OSError:
        pass
