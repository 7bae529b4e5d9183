"""One change at a time to a lab, or to what labs share."""

from __future__ import annotations

import contextlib
import fcntl
import time

from lab.errors import LabError

WAIT_S = 900
_POLL_S = 0.1


@contextlib.contextmanager
def held(path, wait_s=WAIT_S):
    """Hold the lock file ``path`` for the duration of a ``with`` block.

    The kernel drops it when the holder dies, so a killed run leaves none behind.

    :raises LabError: another process still held it after ``wait_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LabError(
                        f"{path} is held by another lab command, and still was after {wait_s} s. "
                        f"`fuser {path}` names it; let it end, then run again"
                    ) from None
                time.sleep(_POLL_S)
        yield
