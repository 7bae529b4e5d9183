# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logs that a program names in what it says, and logs that those name."""

from __future__ import annotations

import os
import re

from . import safe_paths
from .root import Root

_NAMED = re.compile(r"(?<![\w./-])/(?!/)[\w./+@%=~:-]*\.(?:log|out|txt)(?![\w/])")
_MOST = 16
_LIMIT = 16 << 20


def paths(text: str) -> list[str]:
    """Return the paths of logs that a text names, each once, in their order."""
    return list(dict.fromkeys(_NAMED.findall(text)))


def followed(text: str, tree: Root) -> dict[str, str]:
    """Return {path: text} of the logs that a text names and of those named in turn, as met.

    A text from a host may name any path: only a regular file is read that nobody but root could
    have put there or turned, of a bounded size, and a bounded number of them.
    """
    found: dict[str, str] = {}
    ahead = paths(text)
    while ahead and len(found) < _MOST:
        path = ahead.pop(0)
        if path not in found and _is_roots(tree.path(path)):
            found[path] = tree.data(path, _LIMIT).decode("utf-8", "replace")
            ahead += paths(found[path])
    return found


def _is_roots(path: str) -> bool:
    try:
        return os.path.isfile(path) and not safe_paths.why_unsafe(path)
    except OSError:
        return False
