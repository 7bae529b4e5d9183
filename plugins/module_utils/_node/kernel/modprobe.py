# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Loading and unloading of kernel modules."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from ..refusal import Refusal
from ..system import commands
from ..system.commands import Run
from ..system.root import Root
from . import kernels

_PATIENCE_S = 120
_QUOTED = 3
# What the driver says that it failed by, whatever it failed for, and where to read of it.
_GENERAL = re.compile(
    r"NVRM: (?:loading NVIDIA|The NVIDIA probe routine|None of the NVIDIA devices|Please see"
    r"|in this release's README|specific graphics driver)|nvidia: probe of \S+ failed"
)


def is_unused(name: str, tree: Root) -> bool:
    """Say whether a module is loaded, nobody uses it, and it can go."""
    users = kernels.module_users(tree).get(name)
    return users is not None and not users.number and not users.is_permanent


def unload(name: str, run: Run) -> None:
    """Unload a module that nobody uses.

    :raises Refusal: somebody does.
    """
    obstacle = rmmod(name, run)
    if obstacle:
        raise Refusal(f"unload {name}", obstacle, "Reboot the host, or end who uses it")


def rmmod(name: str, run: Run) -> str:
    """Unload a module; return the words with which it fails, '' where it does not."""
    return _failure(["rmmod", name], run)


def load(name: str, run: Run) -> str:
    """Load a module; return the words with which it fails, '' where it does not.

    What modprobe says is an error's number in words; why, the kernel's log has.
    """
    words = _failure(["modprobe", name], run)
    said = _said_of(name, run) if words else []
    return f"{words} (the kernel says: {' / '.join(said)})" if said else words


def _said_of(name: str, run: Run) -> list[str]:
    """Return the last lines of the kernel's log that tell of a module, or of its signature."""
    of_driver = "|NVRM: " if name.startswith("nvidia") else ""
    sign = re.compile(
        rf"(?:\[[^\]]*\] *)?(?:{re.escape(name)}: |failed to validate module \[{re.escape(name)}\]"
        rf"|Loading of [a-z ]+ is rejected{of_driver})"
    )
    try:
        options = {"capture_output": True, "text": True, "errors": "replace"}
        done = run(["dmesg", "--notime"], timeout=_PATIENCE_S, **options)
    except (OSError, subprocess.TimeoutExpired):
        return []
    told = [line for line in commands.lines_of(done.stdout) if sign.match(line)]
    return [line for line in told if not _GENERAL.search(line)][-_QUOTED:]


def _failure(argv: Sequence[str], run: Run) -> str:
    """Return the words with which a command fails, '' where it does not."""
    try:
        done = run(argv, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"{' '.join(argv)} did not end within {_PATIENCE_S} s"
    except OSError as error:
        return f"{' '.join(argv)}: {error.strerror}"
    words = done.stderr.strip() or f"it ended with status {done.returncode}"
    return f"{' '.join(argv)}: {words}" if done.returncode else ""
