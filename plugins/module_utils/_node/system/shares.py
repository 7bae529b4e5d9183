# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file systems of a host that a server or a program serves, and whether that answers.

Who asks for what lies on one whose server is away waits in the kernel until it is back, and may not
even be killed meanwhile. So it is another process that asks, and nobody waits for its end.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ..refusal import Refusal
from .root import Root

#: How long an answer is waited for that would only be good to have, in seconds.
PATIENCE_S = 0.4
# For one that is needed: a disk behind it may have to spin up.
_WANTED_S = 10
# As /proc/self/mounts calls them; those of programs are "fuse" and "fuse." with a name behind it.
_KINDS = (
    *("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "afs", "ceph"),
    *("lustre", "gpfs", "beegfs", "wekafs", "orangefs", "pvfs2", "panfs"),
    *("fuse", "fuseblk"),
)
# More than a pipe takes at once, pipe(7).
_CHUNK = 1 << 16


class Room(NamedTuple):
    """The room on a file system in bytes; what is available is so to those who are not root."""

    total: int
    available: int


def mounted(proc: str = "/proc") -> list[tuple[str, str]]:
    """Return (mount point, kind of file system) of all that is mounted; later ones cover earlier.

    :param proc: where procfs is mounted.
    """
    with open(os.path.join(proc, "self", "mounts"), "rb") as handle:
        rows = [line.split() for line in handle]
    # The kernel escapes blanks alone, and leaves the bytes of other characters as they are.
    return [
        (
            os.fsdecode(row[1].decode("unicode_escape").encode("latin-1")),
            row[2].decode(errors="replace"),
        )
        for row in rows
    ]


def is_one(kind: str) -> bool:
    """Say whether a kind of file system is that of a share."""
    return kind in _KINDS or kind.startswith("fuse.")


def points(rows: Iterable[tuple[str, str]]) -> set[str]:
    """Return the mount points of shares among the rows of :func:`mounted`."""
    return {mount for mount, kind in rows if is_one(kind)}


def lies_on(mount: str, shares: Collection[str]) -> bool:
    """Say whether a mount point is one of a share, or is reached through one."""
    while mount not in shares and mount != "/":
        mount = os.path.dirname(mount)
    return mount in shares


def entered(path: str, shares: Collection[str]) -> str:
    """Return the share that a path leads into, by links too; '' where it leads into none.

    Nothing on a share is looked at for it.
    """
    place = Root().resolve(path, short_of=shares) if shares else ""
    return place if place in shares else ""


def room(mount: str) -> Room | None:
    """Return the Room at a mount point; None where it is no folder, or holds nothing."""
    with contextlib.suppress(OSError):
        if os.path.isdir(mount):
            found = os.statvfs(mount)
            if found.f_blocks:
                size = found.f_frsize
                return Room(found.f_blocks * size, found.f_bavail * size)
    return None


def rooms(mounts: Sequence[str], patience_s: float = PATIENCE_S) -> dict[str, Room | None]:
    """Return {mount point: its room} of those that answer, all asked at once.

    :param patience_s: how long is waited for all of them, in seconds.
    """
    if not mounts:
        return {}
    told, tells = os.pipe()
    child = os.fork()
    if not child:
        _ask(mounts, tells, patience_s)
    os.close(tells)
    try:
        return _answers(mounts, told, time.monotonic() + patience_s)
    finally:
        os.close(told)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, os.WNOHANG)


def refuse_silent(paths: Iterable[str], proc: str = "/proc") -> None:
    """Refuse to look at paths on a share that does not answer.

    :param paths: not asked for where there is no share.
    :param proc: where procfs is mounted.
    :raises Refusal: one of them lies there.
    """
    shares = points(mounted(proc))
    led = {path: entered(path, shares) for path in paths} if shares else {}
    asked = sorted(set(led.values()) - {""})
    answering = rooms(asked, _WANTED_S)
    for path, share in led.items():
        if share and share not in answering:
            raise Refusal(
                path,
                f"it lies on {share}, which has not answered within {_WANTED_S} s",
                f"See on the host why `stat -f {share}` does not answer: mount it again, or have "
                f"`umount -l {share}` take it away",
            )


def _ask(mounts: Sequence[str], tells: int, patience_s: float) -> None:
    """Write a line for each mount point that answers: its place among them, and its room.

    Does not return: this is a process of its own.
    """
    try:
        # Whoever reads what was printed waits until nobody has that open any more.
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)

        def ask(at: int, mount: str) -> None:
            found = room(mount)
            words = [at, *found] if found else [at]
            os.write(tells, f"{' '.join(map(str, words))}\n".encode())

        asking = [
            threading.Thread(target=ask, args=pair, daemon=True) for pair in enumerate(mounts)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(patience_s)
    finally:
        os._exit(0)


def _answers(mounts: Sequence[str], told: int, deadline: float) -> dict[str, Room | None]:
    text = b""
    while text.count(b"\n") < len(mounts):
        ready, _writable, _odd = select.select([told], [], [], max(0, deadline - time.monotonic()))
        part = os.read(told, _CHUNK) if ready else b""
        if not part:
            break
        text += part
    *lines, _begun = text.split(b"\n")
    rows = [[int(word) for word in line.split()] for line in lines]
    return {mounts[at]: Room(*sizes) if sizes else None for at, *sizes in rows}
