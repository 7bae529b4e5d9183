# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's tables of sockets in /proc/net."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Container, Iterator

from . import root

TCP_ESTABLISHED = "01"
TCP_LISTEN = "0A"


def rows(proc: str, name: str) -> Iterator[list[str]]:
    """Yield the fields of each row of a table below its heading; nothing where there is none.

    :param proc: where procfs is mounted.
    :param name: the table's name, such as "unix".
    """
    with (
        contextlib.suppress(OSError),
        open(
            os.path.join(proc, "net", name),
            encoding="utf-8",
            errors="surrogateescape",
            newline="\n",
            opener=root.without_waiting,
        ) as lines,
    ):
        next(lines, None)
        for line in lines:
            yield line.split()


def tcp_sockets(
    proc: str, state: str, among: Container[str] | None = None
) -> dict[str, tuple[str, int]]:
    """Return {inode: (local address, port)} of the TCP sockets in a state.

    :param proc: where procfs is mounted.
    :param state: one of the constants above.
    :param among: the inodes that matter, where not all do: a host may have many connections.
    """
    sockets = {}
    for table in ("tcp", "tcp6"):
        for fields in rows(proc, table):
            # A row that is none says nothing of a socket.
            with contextlib.suppress(IndexError, ValueError):
                if fields[3] == state and (among is None or fields[9] in among):
                    digits, port = fields[1].split(":")
                    sockets[fields[9]] = _address(digits), int(port, 16)
    return sockets


def _address(digits: str) -> str:
    """Return the address in the kernel's hexadecimal: 32-bit words in the host's byte order."""
    words = [bytes.fromhex(digits[start : start + 8]) for start in range(0, len(digits), 8)]
    step = -1 if sys.byteorder == "little" else 1
    return str(ipaddress.ip_address(b"".join(word[::step] for word in words)))
