# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which folders something on the host still lives in."""

from __future__ import annotations

import os
import re

from ansible_collections.gpunode.stack.plugins.module_utils import listening

UNIT_DIR = "/etc/systemd/system"


def by_processes(folders, proc="/proc", besides=()):
    """Return {folder: who} of those that a running process lives in.

    It works there, or has its program or libraries from there. ``who`` is one such process, in
    words.

    :param besides: units whose processes do not count.
    """
    used = {}
    for pid in os.listdir(proc):
        if not pid.isdigit():
            continue
        unit = listening.unit_of(_text(os.path.join(proc, pid, "cgroup")))
        if unit not in besides:
            text = _places_of(os.path.join(proc, pid))
            name = _text(os.path.join(proc, pid, "comm")).strip()
            who = f"process {name} (pid {pid})" + (f" of {unit}" if unit else "")
            used.update({folder: who for folder in folders if _names(folder, text)})
    return used


def by_units(folders, unit_dir=UNIT_DIR, besides=()):
    """Return {folder: who} of those that a unit file or drop-in of the administrator names.

    :param besides: units whose files do not count.
    """
    used = {}
    for parent, _folders, names in os.walk(unit_dir):
        for name in set(names).difference(besides):
            path = os.path.join(parent, name)
            text = _text(path)
            who = f"unit {os.path.relpath(path, unit_dir)}"
            # The unit itself comes before the links by which it is wanted.
            used = {**{folder: who for folder in folders if _names(folder, text)}, **used}
    return used


def _places_of(process):
    """Return the paths of a process's working folder, and of the program and libraries it maps."""
    try:
        folder = os.readlink(os.path.join(process, "cwd"))
    except OSError:
        folder = ""
    return "\n".join([folder, _text(os.path.join(process, "maps"))])


def _text(path):
    """Return a file's text; nothing for one that is gone, such as that of a process that ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def _names(folder, text):
    return folder in text and re.search(re.escape(folder) + r"(?![\w.-])", text) is not None
