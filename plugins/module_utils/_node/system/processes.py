# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running processes: who is whose child, and since when each runs."""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from collections.abc import Iterable, Sequence
from typing import IO

from . import commands

# More than any line of /proc/PID/stat.
_LONGEST = 1 << 14


def children(pid: int | str | None, proc: str = "/proc") -> set[int]:
    """Return the ids of the living children of a process.

    :param pid: its id, a number or its text; '0' and None are no process.
    """
    if not int(pid or 0):
        return set()
    return {
        int(name)
        for name in os.listdir(proc)
        if name.isdigit() and _parent(_status(name, proc)) == str(pid)
    }


def oldest_start(pids: Iterable[int | str], proc: str = "/proc") -> float | None:
    """Return when the oldest of some processes was started, in seconds since 1970, or None."""
    statuses = [_status(pid, proc) for pid in pids]
    ticks = [int(status[19]) for status in statuses if status]
    if not ticks:
        return None
    # The kernel counts from its start, in ticks; that moment moves when the clock is set.
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + min(ticks) / os.sysconf("SC_CLK_TCK")


def user_of(pid: int | str | None, proc: str = "/proc") -> str | None:
    """Return the name of the user that a process runs as, or the id of one without; None for none.

    :param pid: its id, a number or its text; '0' and None are no process.
    """
    if not int(pid or 0):
        return None
    with contextlib.suppress(OSError):
        with opened(os.path.join(proc, str(pid), "status")) as text:
            # Real, effective, saved and file system's, proc_pid_status(5).
            uid = next(line for line in text if line.startswith("Uid:")).split()[2]
        try:
            return pwd.getpwuid(int(uid)).pw_name
        except KeyError:
            return uid
    return None


def started_before(pids: Iterable[int | str], path: str, proc: str = "/proc") -> bool:
    """Say whether one of some processes was started before a file was last written.

    Of processes that are gone, and of a file that is not there, it is not said; nor of a file from
    the future: the clock was set back since, and no process will ever be younger.
    """
    start = oldest_start(pids, proc)
    try:
        return start is not None and start < os.stat(path).st_mtime <= time.time()
    except OSError:
        return False


def named(comm: str) -> str:
    """Return what a process calls itself, on one line: people are shown it among lines of ours.

    :param comm: what /proc/PID/comm holds.
    """
    return commands.one_line(comm.strip())


def opened(path: str) -> IO[str]:
    """Open what the kernel tells of a process, for reading.

    Of all that ends lines elsewhere the kernel escapes line feeds alone in people's names.

    :param path: below /proc.
    :raises OSError: it is gone.
    """
    return open(path, encoding="utf-8", errors="replace", newline="\n")


def _status(pid: int | str, proc: str) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, [] for a process that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with opened(os.path.join(proc, str(pid), "stat")) as text:
            # The name before may hold blanks and parentheses.
            fields = text.read(_LONGEST).rpartition(")")[2].split()
        return [] if fields[0] == "Z" else fields
    return []


def _parent(status: Sequence[str]) -> str | None:
    return status[1] if status else None
