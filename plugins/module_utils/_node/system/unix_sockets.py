# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The unix sockets of a host that are listened on, by their paths.

A path is what its owner wrote, line breaks and all, and may be that of another mount namespace.
The kernel's answers over netlink (sock_diag(7), unix_diag.h) have a length for each name, and tell
which file it is; those of the text in /proc/net/unix have neither.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from . import proc_net, shares

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
# netlink(7), sock_diag(7): the header of a message, what is asked for, what is answered, and the
# header of each attribute of that.
_MESSAGE = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBHIIIII")
_ANSWER = struct.Struct("=BBBBIII")
_ATTRIBUTE = struct.Struct("=HH")
_FILE = struct.Struct("=II")
_NAME, _VFS = 0, 1
_SHOW = 0x1 | 0x2
_TCP_LISTEN = 10
_PATIENCE_S = 10
_LARGEST = 1 << 20
# No number of a file, inode(7).
_UNASKED = -1
# As /proc/net/unix has them.
_LISTEN, _STREAM = "00010000", "0001"


class _Row(NamedTuple):
    """A socket that is listened on.

    :ivar inode: its own, by which processes have it open.
    :ivar file: the number of the file that it is bound to, None where that is not told.
    """

    inode: str
    path: str
    file: int | None


def listening(proc: str = "/proc") -> dict[str, str]:
    """Return {inode: path} of the stream sockets that somebody can reach at a path here.

    :param proc: where procfs is mounted.
    """
    rows = []
    try:
        # Another procfs is that of another host.
        rows = list(_asked() if proc == "/proc" else _read(proc))
    except (OSError, struct.error):
        # A kernel without unix_diag.
        rows = list(_read(proc))
    return {row.inode: row.path for row in _reachable(rows, shares.points(shares.mounted()))}


def _reachable(rows: list[_Row], served: Collection[str]) -> Iterator[_Row]:
    """Yield those whose file is the one at their path, as far as that can be told.

    A file system may tell other numbers by stat(2) than it has inside, as an overlay does: where
    none of a path fits, all of them count. So do those on a share, which may not answer.

    :param served: the mount points of shares.
    """
    files = {
        row.path: _UNASKED if shares.entered(row.path, served) else _file_at(row.path)
        for row in rows
    }
    known = {row.path for row in rows if row.file is not None and row.file == files[row.path]}
    for row in rows:
        is_there = files[row.path] is not None and row.path.isprintable()
        if is_there and (row.path not in known or row.file == files[row.path]):
            yield row


def _file_at(path: str) -> int | None:
    """Return the number of the socket's file at a path, None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino if stat.S_ISSOCK(status.st_mode) else None


def _read(proc: str) -> Iterator[_Row]:
    for fields in proc_net.rows(proc, "unix"):
        listens = fields[3:5] == [_LISTEN, _STREAM]
        # Anybody's path may have a line break in it, which makes two rows of one.
        if listens and len(fields) == 8 and fields[7].startswith("/"):
            yield _Row(fields[6], fields[7], None)


def _asked() -> Iterator[_Row]:
    """Yield what the kernel answers.

    :raises OSError: it does not.
    """
    question = _QUESTION.pack(socket.AF_UNIX, 0, 0, 1 << _TCP_LISTEN, 0, _SHOW, 0, 0)
    head = _MESSAGE.pack(_MESSAGE.size + len(question), _BY_FAMILY, _REQUEST | _DUMP, 1, 0)
    with contextlib.closing(
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
    ) as netlink:
        netlink.settimeout(_PATIENCE_S)
        netlink.send(head + question)
        while True:
            for kind, body in _messages(netlink.recv(_LARGEST)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-int.from_bytes(body[:4], "little", signed=True), "sock_diag")
                if kind == _BY_FAMILY:
                    yield from _row(body)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, body) of each message in a datagram."""
    while data:
        length, kind, _flags, _number, _from = _MESSAGE.unpack_from(data)
        if not _MESSAGE.size <= length <= len(data):
            raise OSError("sock_diag: a message was cut off")
        yield kind, data[_MESSAGE.size : length]
        data = data[_aligned(length) :]


def _row(body: bytes) -> Iterator[_Row]:
    """Yield the row of an answer, none where it has no path or is no stream."""
    _family, kind, _state, _pad, inode, *_cookie = _ANSWER.unpack_from(body)
    told: dict[int, bytes] = {}
    rest = body[_ANSWER.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, name = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        told[name] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    path = os.fsdecode(told.get(_NAME, b"").rstrip(b"\0"))
    if kind == socket.SOCK_STREAM and path.startswith("/"):
        file = _FILE.unpack_from(told[_VFS])[0] if _VFS in told else None
        yield _Row(str(inode), path, file)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
