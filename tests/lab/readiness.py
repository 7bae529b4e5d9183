"""Whether a host of the lab has booted and answers."""

from __future__ import annotations

import re
import time

from lab import ssh, textfile
from lab.errors import LabError

_CONSOLE_LINES = 20
# What a boot loader moves its cursor with, and colours.
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()].|c)|[^\x20-\x7e\n\t]")


def wait(host, timeout_s, proven, poll_s):
    """Wait until a host has booted and answers; a new one must have no failed unit.

    :param host: it has ``name``, ``address``, ``console``, ``is_running()`` and ``ssh()``.
    :param proven: a file that is written once it was ready for the first time.
    :param poll_s: how long to rest between two questions.
    :raises LabError: it does not get there; says what it answered last, and what its console has.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = _state(host, max(deadline - time.monotonic(), 1))
        if answer in ("running", "degraded"):
            break
        if not host.is_running():
            raise LabError(f"{host.name} went off while it booted. {console_end(host.console)}")
        if time.monotonic() >= deadline:
            raise LabError(
                f"{host.name} ({host.address}) does not answer as {ssh.USER} with "
                f"sudo after {timeout_s} s, but: {answer}. {console_end(host.console)}"
            )
        time.sleep(poll_s)
    if proven.exists():
        return
    if answer == "degraded":
        failed = host.ssh("systemctl list-units --failed --plain --no-legend").stdout.strip()
        raise LabError(
            f"{host.name} is new, and units failed in it:\n{failed}\n{console_end(host.console)}"
        )
    textfile.put(proven, "")


def console_end(console):
    """Return the last lines that a host wrote to its console, without what moves a cursor."""
    lines = []
    if console.exists():
        text = _ESCAPES.sub("", console.read_text(encoding="utf-8", errors="replace"))
        lines = [line.rstrip() for line in text.splitlines() if line.strip()][-_CONSOLE_LINES:]
    return "\n".join([f"The end of {console}:", *lines])


def _state(host, timeout_s):
    """Return what systemd on the host says of itself, or what stands between us and it."""
    try:
        done = host.ssh("sudo -n true && systemctl is-system-running --wait", timeout_s)
    except LabError as error:
        return str(error)
    return done.stdout.strip() or done.stderr.strip()
