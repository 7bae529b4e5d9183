# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where this project lies on the controller, be it a clone or an installed collection."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).resolve().parents[3]

# That of a clone, which its commands take where none is named.
_DEFAULT_INVENTORY = "inventory/lab"


def command(playbook: str, inventory: Iterable[str] = ()) -> str:
    """Return the command that runs a playbook, for people: make's in a clone.

    :param playbook: its name, such as "lock".
    :param inventory: the sources of the inventory in use, as absolute paths.
    """
    paths = [pathlib.Path(path) for path in inventory]
    if not _is_clone():
        sources = [f"--inventory {shlex.quote(str(path))} " for path in paths]
        return f"ansible-playbook {''.join(sources)}gpunode.stack.{playbook}"
    shown = [str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path) for path in paths]
    if shown in ([], [_DEFAULT_INVENTORY]):
        return f"make {playbook}"
    return f"make {playbook} INVENTORY={shlex.quote(' --inventory '.join(shown))}"


def page(path: str) -> str:
    """Return where people find a page: in a clone by its path there, else by its absolute one."""
    return path if _is_clone() else str(ROOT / path)


def _is_clone() -> bool:
    return (ROOT / "Makefile").exists()
