"""All tests within CI's time: `make test`, and then as many of the slow ones as there is time for.

After `make test` come the files with slow tests of the components that the latest commits concern
(:mod:`testrun.changes`), then the others in turn, by the commit's number. None is begun that is not
expected to end within an hour after the start, and those left out are named. Whatever still runs
after 75 minutes is named and ended, and the run has failed: one that hangs has to say so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

from lab.paths import CHECKOUT
from testrun import changes, side_by_side

WITHIN_S = 60 * 60
END_S = 75 * 60
_CLEAN_UP_S = 120
_POLL_S = 0.2


class TimeOver(Exception):
    """The time for all has passed."""


def bounded(argv, until, say=print):
    """Run a command and return its status; where it still runs at a time, name all that does.

    :param until: a moment of time.monotonic().
    :raises TimeOver: it had to be ended.
    """
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        say("Time is over. Still running:", *descendants(process.pid))
        # What runs tests side by side says which ones, and takes its labs down.
        _signal(process, signal.SIGTERM)
        if not _ends_within(process, _CLEAN_UP_S):
            say(f"It did not end within {_CLEAN_UP_S} s.")
            _signal(process, signal.SIGKILL)
        raise TimeOver from None


def _ends_within(process, seconds):
    """Say whether a process and all of its group end in time; make ends before what it started."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(_POLL_S)
    return False


def _signal(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def descendants(pid):
    """Return a line for each process that descends from one, and for itself."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,etimes=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    family, lines = {str(pid)}, []
    # Parents have been there longer.
    for own, parent, seconds, command in sorted(rows, key=lambda row: -int(row[2])):
        if own in family or parent in family:
            family.add(own)
            lines.append(f"  {own:>8} {seconds:>6} s  {command[:200]}")
    return lines


def main():
    """Run what there is time for; return 0 where all that ran has passed."""
    began = time.monotonic()
    until = began + END_S
    try:
        status = bounded(["make", "test"], until, _say)
        if status:
            return status
        tests = side_by_side.collect(["-m", "slow", *side_by_side.FOLDERS])
        tree = changes.Tree(CHECKOUT)
        concerned, others = changes.in_turn(
            tests,
            {test: tree.concerns(test) for test in tests},
            changes.recent(CHECKOUT),
            changes.number(CHECKOUT),
        )
        _say(f"{len(concerned)} files with slow tests are concerned by the latest commits.")
        left_s = began + WITHIN_S - time.monotonic()
        argv = [sys.executable, "-m", "testrun.side_by_side", "--name", "slow", "--in-order"]
        argv += ["--within", f"{max(left_s, 0):.0f}", "--paths", *concerned, *others]
        return bounded(argv, until, _say)
    except TimeOver:
        return 1


def _say(*lines):
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
