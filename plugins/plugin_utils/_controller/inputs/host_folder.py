# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Folders of a host that options name: absolute, and no longer than the host can have them."""

from __future__ import annotations

import os

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# limits.h of Linux: a name has 255 bytes at the most; a path 4096, of which what we make in a
# folder has its part.
# What the kernel shows of itself, hier(7).
_KERNELS = ("/dev", "/proc", "/sys")
_NAME_MAX, _PATH_MAX = 255, 3000


def checked(option: str, path: str) -> str:
    """Return the path of a folder on a host, normalised.

    :param option: the option that names it.
    :raises Refusal: it is relative or too long, or no host keeps anything there.
    """
    if not os.path.isabs(path):
        raise Refusal(f"{option} {path}", "it is not an absolute path", "Write it from the root")
    found = os.path.normpath(path)
    if not found.isprintable():
        raise Refusal(f"{option} {path}", "it has a character that does not print", "Rename it")
    if any(f"{found}/".startswith(f"{place}/") for place in _KERNELS):
        # Below /proc there are other names of every folder.
        raise Refusal(
            f"{option} {path}", "it is the kernel's, and keeps nothing", "Choose another folder"
        )
    longest = max(found.split(os.sep), key=_length)
    if _length(longest) > _NAME_MAX:
        raise Refusal(
            f"{option} {path}",
            f"{longest[:40]}... has {_length(longest)} bytes, and a name may have {_NAME_MAX}",
            "Choose a shorter one",
        )
    if _length(found) > _PATH_MAX:
        raise Refusal(
            f"{option} {path[:_NAME_MAX]}...",
            f"it has {_length(found)} bytes, and may have {_PATH_MAX}",
            "Choose a shorter one",
        )
    return found


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
