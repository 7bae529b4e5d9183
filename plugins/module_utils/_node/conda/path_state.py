# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies at a path, as far as it matters to who wants to put a conda or environment there."""

from __future__ import annotations

import os
import stat
from typing import Any

from ..system import unfinished_folder
from . import prefixes


def of(path: str, state_dir: str) -> dict[str, Any]:
    """Return {kind, empty, conda, unfinished} of a path; links are not followed.

    :param state_dir: where gpunode keeps its notes on the host.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = "absent"
    else:
        kinds = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))
        kind = next((name for test, name in kinds if test(mode)), "other")
    return {
        "kind": kind,
        "empty": kind == "absent" or (kind == "directory" and not os.listdir(path)),
        "conda": kind == "directory" and prefixes.is_conda(path),
        "unfinished": unfinished_folder.is_unfinished(path, state_dir),
    }
