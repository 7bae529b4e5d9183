# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which folders something on the host still lives in, and which users something runs as."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Sequence

from . import files, listening, processes

UNIT_DIR = "/etc/systemd/system"
_DELETED = " (deleted)"
# What a path goes on with. Before one may stand systemd's own signs of how a command is run
# (systemd.service(5)), the letter of an option, or the scheme of an address.
_IN_PATH = r"\w.@+~%-"
_BEFORE = rf"(?:^|[^{_IN_PATH}/])(?:[-+!@|:]*|-[A-Za-z]|file://)"


def by_processes(
    folders: Sequence[str], proc: str = "/proc", besides: Collection[str] = ()
) -> dict[str, str]:
    """Return {folder: who} of those that a running process lives in.

    It works there, or has its program or libraries from there. ``who`` is one such process, in
    words.

    :param besides: units whose processes do not count.
    """
    return {
        folder: f"process {program} (pid {pid})" + (f" of {unit}" if unit else "")
        for folder, pid, program, unit in _processes_in(folders, proc)
        if unit not in besides
    }


def by_units(
    folders: Sequence[str], unit_dir: str = UNIT_DIR, besides: Collection[str] = ()
) -> dict[str, str]:
    """Return {folder: who} of those that a unit file or drop-in of the administrator names.

    :param besides: units whose files do not count.
    """
    used: dict[str, str] = {}
    for folder, path in _mentions(folders, unit_dir):
        # The unit itself comes before the links by which it is wanted.
        if os.path.basename(path) not in besides:
            used.setdefault(folder, f"unit {path}")
    return used


def users(
    folders: Sequence[str], proc: str = "/proc", unit_dir: str = UNIT_DIR
) -> dict[str, list[str]]:
    """Return {folder: sorted names} of who lives in folders or names them, as above.

    A name is that of a unit, or of a program that runs in no service: sessions come and go.
    """
    found: dict[str, set[str]] = {folder: set() for folder in folders}
    for folder, _pid, program, unit in _processes_in(folders, proc):
        found[folder].add(unit if unit.endswith(".service") else program)
    for folder, path in _mentions(folders, unit_dir):
        # A drop-in lies in a folder that is called like its unit.
        unit, _dot, kind = os.path.basename(os.path.dirname(path)).rpartition(".")
        found[folder].add(unit if kind == "d" else os.path.basename(path))
    return {folder: sorted(names) for folder, names in found.items()}


def user_by_processes(uid: int, proc: str = "/proc", besides: Collection[str] = ()) -> bool:
    """Say whether a process of a user runs.

    :param uid: the user's numeric id.
    :param besides: units whose processes do not count.
    """
    pattern = re.compile(rf"^Uid:\s+{uid}\s", re.MULTILINE)
    return any(
        pid.isdigit()
        and pattern.search(_text(os.path.join(proc, pid, "status")))
        and listening.unit_of(_text(os.path.join(proc, pid, "cgroup"))) not in besides
        for pid in os.listdir(proc)
    )


def user_by_units(user: str, unit_dir: str = UNIT_DIR, besides: Collection[str] = ()) -> bool:
    """Say whether a unit file or drop-in of the administrator runs something as a user.

    :param besides: units whose files do not count.
    """
    pattern = re.compile(rf"^\s*User\s*=\s*{re.escape(user)}\s*$", re.MULTILINE)
    return any(
        pattern.search(_text(os.path.join(parent, name)))
        for parent, _folders, names in os.walk(unit_dir)
        for name in set(names).difference(besides)
    )


def _processes_in(folders: Sequence[str], proc: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (folder, process id, program, unit or "") for each process that lives in a folder."""
    # What the kernel tells of a process has no links in it.
    real_paths = {folder: os.path.realpath(folder) for folder in folders}
    for pid in os.listdir(proc):
        if pid.isdigit():
            process = os.path.join(proc, pid)
            lived_in = {
                folder
                for place in _places_of(process)
                for folder, real in real_paths.items()
                if f"{place}{os.sep}".startswith(f"{real}{os.sep}")
            }
            for folder in real_paths:
                if folder in lived_in:
                    unit = listening.unit_of(_text(os.path.join(process, "cgroup")))
                    program = processes.named(_text(os.path.join(process, "comm")))
                    yield folder, pid, program, unit


def _mentions(folders: Sequence[str], unit_dir: str) -> Iterator[tuple[str, str]]:
    """Yield (folder, path relative to ``unit_dir``) for each file of a unit that names a folder."""
    for parent, _folders, names in os.walk(unit_dir):
        for name in names:
            path = os.path.join(parent, name)
            text = _text(path)
            for folder in folders:
                if _names(folder, text):
                    yield folder, os.path.relpath(path, unit_dir)


def _places_of(process: str) -> Iterator[str]:
    """Yield the paths of a process's working folder, and of the programs and libraries it maps.

    Of those that were removed too (proc(5), "(deleted)"). One by one: whoever runs there may map
    more of them, of longer names, than are to be held at once.
    """
    with contextlib.suppress(OSError):
        yield os.readlink(os.path.join(process, "cwd")).removesuffix(_DELETED)
    with contextlib.suppress(OSError), processes.opened(os.path.join(process, "maps")) as lines:
        for line in lines:
            # Behind address, perms, offset, dev and inode there is a path, or none.
            row = line.rstrip("\n").split(maxsplit=5)
            if len(row) > 5:
                yield row[5].removesuffix(_DELETED)


def _text(path: str) -> str:
    """Return a file's text; nothing for one that is gone, such as that of a process that ended."""
    try:
        with processes.opened(path) as handle:
            return handle.read(files.TEXT_LIMIT)
    except OSError:
        return ""


def _names(folder: str, text: str) -> bool:
    # Not a longer name, nor the end of another path: /tmp/opt/e2 is not /opt/e2.
    whole = rf"{_BEFORE}{re.escape(folder)}(?![{_IN_PATH}])"
    return folder in text and re.search(whole, text, re.MULTILINE) is not None
