"""Mounts of this process's mount namespace."""

from __future__ import annotations

import re
from pathlib import Path

from lab.command import run
from lab.errors import LabError

#: A folder of a lab has at least as many parts: "/" has one, and /proc two.
_PARTS_MIN = 3


def below(folder):
    """Return the mount points at or below ``folder``, the deepest and latest first."""
    folder = str(folder)
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [_unescaped(line.split()[4]) for line in reversed(lines)]
    inside = folder.rstrip("/") + "/"
    kept = [point for point in points if point == folder or point.startswith(inside)]
    return sorted(kept, key=len, reverse=True)


def is_mounted(point):
    """Return whether something is mounted exactly at ``point``."""
    return str(point) in below(point)


def release(folder):
    """Unmount everything at or below ``folder``.

    :raises LabError: it is the machine's root, or right below it.
    """
    if len(Path(folder).resolve().parts) < _PARTS_MIN:
        raise LabError(f"{folder} is no folder of a lab: nothing there is unmounted or removed")
    for point in below(folder):
        run(["umount", "--lazy", point])


def remove_tree(folder):
    """Remove ``folder`` and all below it, what is mounted there unmounted first; see release."""
    release(folder)
    run(["rm", "-rf", "--one-file-system", "--", folder], timeout_s=300)


def _unescaped(field):
    """Undo the octal escapes of /proc/self/mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
