# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies at a path, as far as it matters to who wants to put a conda or environment there."""

from __future__ import annotations

import os
import stat

from ..facts_shape import PathState
from ..system import files, unfinished_folder
from . import prefixes


def of(path: str, state_dir: str) -> PathState:
    """Return {kind, empty, conda, unfinished, sha256} of a path; links are not followed.

    ``sha256`` is that of a file of at most files.TEXT_LIMIT, else ''.

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
        "sha256": _digest(path) if kind == "file" else "",
    }


def _digest(path: str) -> str:
    try:
        is_small = os.stat(path).st_size <= files.TEXT_LIMIT
        return files.sha256_of_file(path) if is_small else ""
    except OSError:
        return ""
