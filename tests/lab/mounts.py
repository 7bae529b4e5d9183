"""Mounts of this process's mount namespace."""

from __future__ import annotations

import re
from pathlib import Path

from lab.command import run


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
    """Unmount everything at or below ``folder``."""
    for point in below(folder):
        run(["umount", "--lazy", point])


def remove_tree(folder):
    """Remove ``folder`` and all below it, what is mounted there unmounted first."""
    release(folder)
    run(["rm", "-rf", "--one-file-system", "--", folder], timeout_s=300)


def _unescaped(field):
    """Undo the octal escapes of /proc/self/mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
