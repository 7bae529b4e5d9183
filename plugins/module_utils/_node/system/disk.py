# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Room on a host's file systems: foreseen by the plan, recognised when a command ran out of it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence

from ..facts_shape import Mount
from ..refusal import Refusal

GIB = 1 << 30
# Of room on the disk, or of what a user or a project may have of it.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: By these words a command tells that a file system was full: what the C library says for them, and
#: what conda makes of the first.
FULL = (
    *map(os.strerror, _NO_ROOM),
    "No space left on devices",
    f"errno: {errno.ENOSPC}",
)


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Return the row of ``mounts`` that holds a path, or None where none does.

    :param path: an absolute path; it need not exist.
    :param mounts: the ``mounts`` of node_info; a later row covers an earlier one.
    """
    holding = [row for row in mounts if _is_below(path, row["mount"])]
    return max(reversed(holding), key=lambda row: len(row["mount"]), default=None)


def refusals(demands: Iterable[tuple[str, str, int]], mounts: Sequence[Mount]) -> list[Refusal]:
    """Return a Refusal for each file system without room for what is to be put on it.

    :param demands: list of (what, path, bytes).
    :param mounts: the ``mounts`` of node_info.
    """
    per_mount: dict[str, tuple[Mount, list[tuple[str, int]]]] = {}
    for what, path, size in demands:
        row = mount_of(path, mounts)
        if row is not None:
            per_mount.setdefault(row["mount"], (row, []))[1].append((what, size))
    return [
        Refusal(
            ", ".join(what for what, _size in wanted),
            f"{mount} has {_gib(row['size_available'])} free, {_gib(_sum(wanted))} is needed",
            f"Free room on {mount} or choose a folder on another file system",
        )
        for mount, (row, wanted) in sorted(per_mount.items())
        if row["size_available"] < _sum(wanted)
    ]


def is_full(text: str) -> bool:
    """Say whether a command's output tells that a file system was full."""
    return any(sign in text for sign in FULL)


@contextlib.contextmanager
def watched(what: str, path: str) -> Iterator[None]:
    """Turn a write that found the file system of ``path`` full into the Refusal that says so.

    Or one that can only be read.
    """
    try:
        yield
    except OSError as error:
        if ran_out(error):
            raise full(what, error.filename or path) from error
        if error.errno == errno.EROFS:
            raise Refusal(
                what,
                f"the file system of {error.filename or path} can only be read",
                "See with `dmesg` and in /etc/fstab why, mend that, and run again",
            ) from error
        raise


def ran_out(error: BaseException) -> bool:
    """Say whether an exception means that a file system was full.

    The one of shutil.copytree has a list of what it could not copy, and no number.
    """
    return isinstance(error, OSError) and (error.errno in _NO_ROOM or is_full(str(error)))


def full(what: str, path: str) -> Refusal:
    """Return the Refusal for a file system that filled up under the work on ``path``."""
    return Refusal(
        what,
        without_room(path),
        "Free room there and run again; what was half done was removed or is repaired then",
    )


def without_room(path: str) -> str:
    """Return what is wrong with the file system of a path that filled up, in words."""
    return f"the file system of {path} is full, or its quota is"


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _sum(wanted: Iterable[tuple[str, int]]) -> int:
    return sum(size for _what, size in wanted)


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
