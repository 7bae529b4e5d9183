# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The note of what was stopped for a change of the driver and is to run again after it."""

from __future__ import annotations

import os

from ..system import files, own_paths
from ..system.root import Root

_HERE = Root()


def note_path() -> str:
    """Return where it is noted what runs again after the work on the driver."""
    return os.path.join(own_paths.STATE_DIR, "drained.json")


def noted(tree: Root = _HERE) -> dict[str, list[str]]:
    """Return what an earlier run stopped and nobody started since: {triggers, services}.

    A note that somebody broke says nothing.
    """
    try:
        note = files.parsed(tree.text(note_path()))
        return {key: [str(unit) for unit in note[key]] for key in ("triggers", "services")}
    except (ValueError, KeyError, TypeError):
        return {"triggers": [], "services": []}
