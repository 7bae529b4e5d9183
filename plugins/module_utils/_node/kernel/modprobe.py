# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Loading and unloading of kernel modules."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from ..refusal import Refusal
from ..system.commands import Run
from ..system.root import Root
from . import kernels

_PATIENCE_S = 120


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
    """Load a module; return the words with which it fails, '' where it does not."""
    return _failure(["modprobe", name], run)


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
