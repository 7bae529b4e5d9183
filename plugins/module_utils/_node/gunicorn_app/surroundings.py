# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drop-ins of an application's units: those that are there, and those it was started under.

They are not ours and stay. A running process does not tell under which it was started, so that is
noted on the host after each proof.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping

from ..system import drop_ins, files, own_paths
from . import service
from .wanted import Application

# {unit: {path: sha256}}.
DropIns = dict[str, dict[str, str]]


def note_of(name: str) -> str:
    """Return where it is noted what an application was started under."""
    return os.path.join(own_paths.STATE_DIR, f"{name}.drop-ins")


def found(app: Application) -> DropIns:
    """Return the drop-ins that change an application's units now."""
    return {unit: drop_ins.of(unit) for unit in service.units_of(app)}


def noted(app: Application) -> DropIns:
    """Return those that the application was started under, as far as that is noted."""
    try:
        content = files.read_json(note_of(app["name"]))
        return {unit: dict(content.get(unit, {})) for unit in service.units_of(app)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {unit: {} for unit in service.units_of(app)}


def note(app: Application, now: DropIns) -> None:
    """Note what the application was started under; no note says that there was none."""
    if now == noted(app):
        return
    if any(now.values()):
        os.makedirs(own_paths.STATE_DIR, mode=0o755, exist_ok=True)
        files.write_text(note_of(app["name"]), json.dumps(now), mode=0o600)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note_of(app["name"]))


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return under what else a unit was started than what changes it now; '' for nothing.

    :param before: {path: sha256} of what it was started under.
    :param now: the same of what is there.
    """
    came = [path for path in now if now[path] != before.get(path)]
    gone = [path for path in before if path not in now]
    came, gone = (
        [path for path in paths if not drop_ins.holds_at_once(path)] for paths in (came, gone)
    )
    if came:
        return f"it was not started under {drop_ins.says(came[0])}"
    return f"it was started under {gone[0]}, which is gone" if gone else ""


def says(app: Application) -> str:
    """Return what changes an application's units, as a phrase; '' for nothing."""
    paths = dict.fromkeys(path for unit in found(app).values() for path in unit)
    return f"its units are changed by {', '.join(map(drop_ins.says, paths))}" if paths else ""
