"""Processes that outlive the command that starts them, known by a record on disk.

A record holds the process id, the process's start time and the machine's boot
id, so that another process that was given the same number later is never taken
for ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from lab import textfile

_POLL_S = 0.05
_KILL_TIMEOUT_S = 5
#: A zombie is waited for by nobody but its parent; the process itself is gone.
_ENDED_STATES = "ZX"


def start(argv, log, record):
    """Start a command in a session of its own and return its process id.

    :param argv: the command; its first word is looked up on PATH.
    :param log: file that its stdout and stderr are appended to.
    :param record: file that is written so that :func:`is_alive` and :func:`stop` know it.
    :raises OSError: it could not be started.
    """
    argv = [str(word) for word in argv]
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    pid = os.posix_spawnp(
        argv[0],
        argv,
        os.environ,
        setsid=True,
        setsigdef=[signal.SIGINT, signal.SIGPIPE],
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            output,
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    note(pid, record)
    return pid


def note(pid, record):
    """Write the file by which a process is known to the functions below."""
    identity = {"pid": pid, "start": start_time(pid), "boot": _machine_boot_id()}
    textfile.put(record, json.dumps(identity) + "\n")


def ancestor(name):
    """Return the id of the nearest process of that name that this one descends from, or None."""
    pid = os.getppid()
    while pid:
        command, fields = _status(pid)
        if command == name:
            return pid
        pid = int(fields[1])
    return None


def is_alive(record):
    """Return whether the very process that ``record`` names still runs."""
    return live_pid(record) is not None


def stop(record, timeout_s):
    """End the process that ``record`` names, if it still runs, and remove the record.

    :param timeout_s: seconds it has to end by itself after SIGTERM, before SIGKILL.
    """
    pid = live_pid(record)
    if pid is not None:
        _signal(pid, signal.SIGTERM)
        if not ended_within(record, timeout_s):
            _signal(pid, signal.SIGKILL)
            ended_within(record, _KILL_TIMEOUT_S)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    Path(record).unlink(missing_ok=True)


def start_time(pid):
    """Return when a process started, in clock ticks since boot, or None if it has ended."""
    try:
        _command, fields = _status(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in _ENDED_STATES else int(fields[19])


def live_pid(record):
    """Return the id of the very process that ``record`` names, or None if it has ended."""
    try:
        identity = json.loads(Path(record).read_text(encoding="utf-8"))
        pid = identity["pid"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    started = start_time(pid)
    if started is None or (identity["boot"], identity["start"]) != (_machine_boot_id(), started):
        return None
    return pid


def _status(pid):
    """Return (name, [state, parent's id, ...]) of a process, as proc(5) has them."""
    status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    before, _parenthesis, after = status.rpartition(")")
    return before.partition("(")[2], after.split()


def ended_within(record, timeout_s):
    """Wait until the process that ``record`` names has ended; return whether it has."""
    deadline = time.monotonic() + timeout_s
    while is_alive(record):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _signal(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _machine_boot_id():
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
