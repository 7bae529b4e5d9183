# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that come little by little: what a killed run has of one, the next goes on with."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from typing import IO

from ..refusal import Refusal
from . import files

#: Nobody comes back any more for what nobody wrote to for as long: of a longer download than any.
ABANDONED_S = 24 * 60 * 60
_POLL_S = 0.1


class ToBeContinued(Refusal):
    """It could not be had whole; what has come of it stays for the next run."""


@contextlib.contextmanager
def held(path: str, name: str, patience_s: float) -> Iterator[tuple[IO[bytes], str]]:
    """Give (file, its path): what there is so far of one that is to lie at ``path``, for us alone.

    It lies beside it, and goes at the end of the block unless it was put in its place meanwhile, or
    the block ends with ToBeContinued. Only in a folder in which nobody else writes is there
    anything from before, and only where nobody else could have written or opened it.

    :param name: what tells it from others, such as the digest that it will have.
    :param patience_s: for how long another process that has it is waited for.
    :raises Refusal: it had it for longer.
    :raises OSError: there is no room, or no such folder.
    """
    folder = os.path.dirname(path)
    # Elsewhere none is found again.
    suffix = "" if files.is_own(folder) else f"-{secrets.token_hex(8)}"
    temporary = os.path.join(folder, f"{files.TEMPORARY}{name}{suffix}")
    with _taken(temporary, patience_s) as handle:
        try:
            yield handle, temporary
        except ToBeContinued:
            raise
        except BaseException:
            _remove(handle, temporary)
            raise
        _remove(handle, temporary)


def _taken(temporary: str, patience_s: float) -> IO[bytes]:
    """Return a file once it is locked; the kernel lets it go with whoever has it."""
    deadline = time.monotonic() + patience_s
    while True:
        handle = os.fdopen(_opened(temporary), "r+b")
        if _is_locked(handle, temporary):
            return handle
        handle.close()
        if time.monotonic() >= deadline:
            raise Refusal(
                temporary,
                f"another run has it, and still had after {patience_s:.0f} s",
                "Wait for that run to end, or end it, and run again",
            )
        time.sleep(_POLL_S)


def _opened(temporary: str) -> int:
    """Return a descriptor of a file, which is empty where what lay there was not ours alone."""
    with contextlib.suppress(FileNotFoundError):
        if not _is_ours_alone(os.lstat(temporary)):
            os.unlink(temporary)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(temporary, flags, 0o600)


def _is_locked(handle: IO[bytes], temporary: str) -> bool:
    """Lock a file, and say whether that could be done and it is the one that lies there."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Whoever had it may have put it in its place, or removed it, before it was ours.
    return _lies_at(handle, temporary)


def _is_ours_alone(status: os.stat_result) -> bool:
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o077
        and status.st_nlink == 1
    )


def _lies_at(handle: IO[bytes], path: str) -> bool:
    """Say whether a file is still the one at a path."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


def _remove(handle: IO[bytes], temporary: str) -> None:
    """Remove a file that is ours, and not the one that the next run may have there by now."""
    if _lies_at(handle, temporary):
        os.unlink(temporary)
