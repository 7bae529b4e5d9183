# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds passwords while conda is at work, and lies there still where a run was killed."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..system import own_paths, unfinished_folder

# Of files that conda and pip are given, and of packages that were fetched to be solved.
FILES_DIR = os.path.join(own_paths.CACHE_DIR, "conda_env")
PACKAGES_DIR = os.path.join(own_paths.CACHE_DIR, "conda_solve")


def clear(
    folders: Iterable[str] = (FILES_DIR, PACKAGES_DIR), state_dir: str = own_paths.STATE_DIR
) -> None:
    """Remove what an earlier run left of it, once nothing of that run is at work any more."""
    for path in folders:
        if os.path.lexists(path) or unfinished_folder.is_unfinished(path, state_dir):
            unfinished_folder.remove(path, state_dir)
