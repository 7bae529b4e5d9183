# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says of its units, and what it is told."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence

from . import commands, files
from .commands import Run

UNIT_DIR = "/etc/systemd/system"
# The variable in which our services carry the digest of the unit's text.
UNIT_MARK = "GPUNODE_UNIT"
_PATIENCE_S = 60
# systemctl(1), is-enabled, on states of unit files: these start at boot, or with what they are
# of, and `systemctl enable` has nothing to say of them. What was enabled or linked until the next
# boot alone (-runtime), disabled or masked does not.
_AT_BOOT = ("enabled", "static", "alias", "indirect", "generated", "transient")
# So much of what was logged is read at the most, the last of it: whoever runs there may log without
# end, in lines of any length.
_LINES = 10_000
_LOG_BYTES = 8 << 20
_TAIL = f'"$0" "$@" | tail --bytes={_LOG_BYTES}'
_CURSOR = "-- cursor: "


class UnitError(Exception):
    """systemd did not do as told; the text is its own words."""


def units_of(name: str) -> list[str]:
    """Return the names of a service's units, in the order of their start: its socket, itself."""
    return [f"{name}.socket", f"{name}.service"]


def show(
    units: Sequence[str], properties: Iterable[str], run: Run = commands.run
) -> dict[str, dict[str, str]]:
    """Return {unit: {property: value}}, in one call; {} where systemd does not answer.

    :param units: unit names.
    :param properties: names as in `systemctl show`.
    :param run: what runs ``systemctl``.
    """
    if not units:
        return {}
    try:
        answer = run(
            ["systemctl", "show", f"--property={','.join(properties)}", "--", *units],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in answer.split("\n\n")
    ]
    return dict(zip(units, blocks))


def starts_at_boot(state: Mapping[str, str]) -> bool:
    """Say whether a unit starts at boot, as far as it is up to an administrator to say so.

    One without [Install] is started by others, such as a rule of udev's.

    :param state: {property: value} of it, with UnitFileState.
    """
    return state.get("UnitFileState") in _AT_BOOT


def files_of(units: Sequence[str], run: Run = commands.run) -> dict[str, str]:
    """Return {unit: path of the file that systemd has of it, or ''}, of an alias that of its unit.

    :param units: unit names.
    :param run: what runs ``systemctl``.
    """
    found = show(units, ("LoadState", "FragmentPath"), run)
    return {unit: found.get(unit, {}).get("FragmentPath", "") for unit in units}


def environment_of(pid: int | str | None, proc: str = "/proc") -> dict[str, str] | None:
    """Return the {variable: value} that a process was started with, None where there is none.

    :param pid: its id, a number or its text; '0' and None are no process.
    """
    if not int(pid or 0):
        return None
    try:
        with open(os.path.join(proc, str(pid), "environ"), "rb") as handle:
            items = handle.read(files.TEXT_LIMIT).decode(errors="surrogateescape").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return dict(item.split("=", 1) for item in items if "=" in item)


def tell(verb: str, *units: str, timeout_s: float = _PATIENCE_S, run: Run = commands.run) -> None:
    """Run `systemctl VERB UNITS` to its end.

    :raises UnitError: it failed, or was not done after ``timeout_s`` seconds.
    """
    try:
        done = run(["systemctl", verb, *units], capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise UnitError(
            f"systemctl {verb} {' '.join(units)} did not end within {timeout_s} s"
        ) from error
    if done.returncode:
        raise UnitError(f"systemctl {verb} {' '.join(units)}: {done.stderr.strip()}")


def verify(texts: Mapping[str, str], run: Run = commands.run) -> None:
    """Have systemd read unit files before they are put in place.

    :param texts: {unit: text}.
    :raises UnitError: it found an error, or a line it would ignore.
    """
    with tempfile.TemporaryDirectory(prefix="gpunode-") as folder:
        paths = [os.path.join(folder, unit) for unit in texts]
        for path, text in zip(paths, texts.values()):
            files.write_text(path, text, owner=None, group=None)
        done = run(
            ["systemd-analyze", "verify", "--man=no", *paths],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
        # It ends with 0 for a misspelt directive, and speaks of other units of the host as well.
        ours = [line for line in done.stderr.splitlines() if line.startswith((folder, *texts))]
    if done.returncode or ours:
        words = "\n".join(ours) or done.stderr.strip()
        raise UnitError(f"systemd-analyze verify: {words.replace(folder + os.sep, '')}")


def journal_end(run: Run = commands.run) -> str:
    """Return where the journal ends now, as its cursor; '' where that is not to be had.

    Unlike a time it stays the same place when somebody sets the clock.
    """
    said = _journal(["--lines=1", "--output=cat", "--show-cursor"], run)
    # What was logged stands before it.
    cursors = [line[len(_CURSOR) :] for line in said[-1:] if line.startswith(_CURSOR)]
    return cursors[0] if cursors else ""


def journal(unit: str, after: str, run: Run = commands.run) -> list[str]:
    """Return the last lines that a unit logged; [] where no journal can be read.

    :param after: what :func:`journal_end` said before; '' for the beginning of this boot. A line
        that was the very last one there may come again.
    """
    # With --unit, --after-cursor leaves out the first line (systemd 252, journalctl.c: it goes on
    # by two from the cursor, whose own line is of another unit), and with a cursor, --lines counts
    # from the first.
    begin = [f"--cursor={after}"] if after else ["--boot", f"--lines={_LINES}"]
    return _journal([f"--unit={unit}", *begin, "--output=short"], run)


def _journal(asked: Sequence[str], run: Run) -> list[str]:
    argv = ["sh", "-c", _TAIL, "journalctl", "--no-pager", "--quiet", *asked]
    try:
        # What was said last may still be on its way to the journal.
        run(["journalctl", "--sync"], capture_output=True, timeout=_PATIENCE_S)
        done = run(argv, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines: list[str] = done.stdout.strip().splitlines()
    # What the first one began with may be gone, and with it what tells a secret.
    return lines[1:] if len(done.stdout.encode()) >= _LOG_BYTES else lines
