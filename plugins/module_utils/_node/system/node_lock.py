# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One mutating gpunode module at a time on a node."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import IO

from ..refusal import Refusal
from . import files

# Where only root makes files: in /run/lock anybody could have it, or hold it.
LOCK_PATH = "/run/gpunode.lock"
WAIT_S = 600
_POLL_S = 0.2
_LONGEST = 1 << 14


def _holder(handle: IO[str]) -> str:
    """Return a sentence naming who holds the lock, from what they wrote into it."""
    handle.seek(0)
    try:
        holder = files.parsed(handle.read(_LONGEST))
        return f"{holder['purpose']} (pid {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process that did not leave its name"


def _opened(path: str, purpose: str) -> int:
    """Return a descriptor of the lock's file, which nobody else can open: who can may hold it.

    :raises Refusal: there is none, and none can be made; or it is none of ours.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _unfit(path, purpose, error.strerror or str(error)) from error
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode):
        flaw = "it is no regular file"
    elif seen.st_uid != os.geteuid():
        flaw = f"it belongs to {files.user_name(seen.st_uid)}"
    else:
        flaw = "it has another name as well" if seen.st_nlink > 1 else ""
    if flaw:
        os.close(descriptor)
        raise _unfit(path, purpose, flaw)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _unfit(path: str, purpose: str, flaw: str) -> Refusal:
    return Refusal(
        purpose,
        f"the node's lock cannot be had at {path}: {flaw}",
        "Remove it, or make room for it, and run again",
    )


@contextlib.contextmanager
def held(purpose: str, path: str = LOCK_PATH, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the node's lock for the duration of a ``with`` block.

    The kernel drops the lock when the holder dies, so a killed run never
    leaves a stale one behind.

    :param purpose: what the holder does, shown to whoever waits in vain.
    :param path: the lock file.
    :param wait_s: seconds to wait before giving up.
    :raises Refusal: the lock was still held after ``wait_s`` seconds, or cannot be had at all.
    """
    with open(_opened(path, purpose), "r+", encoding="utf-8") as handle:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Refusal(
                        purpose,
                        f"the node is held by {_holder(handle)}, and still was after {wait_s} s",
                        "Wait for that run to end, or end it, and run again",
                    ) from None
                time.sleep(_POLL_S)
        since = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        holder = {"purpose": purpose, "pid": os.getpid(), "since": since}
        os.ftruncate(handle.fileno(), 0)
        # A name for whoever waits: without room for it the lock is held all the same.
        with contextlib.suppress(OSError):
            os.write(handle.fileno(), json.dumps(holder).encode())
        try:
            yield
        finally:
            # Whoever waits next is not told of one who is gone.
            os.ftruncate(handle.fileno(), 0)
