# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who listens where on a host, and whether an address is free to listen on.

An address is what systemd calls ListenStream=: '0.0.0.0:9001', '[::1]:9001',
or the absolute path of a unix socket. In a row of the survey a unix socket has
its path as ``address`` and the port 0.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Sequence

from ..facts_shape import GpuClient, Listening
from . import commands, files, proc_net, processes, unix_sockets
from .commands import Run
from .open_files import OpenFiles

# Of the path of a unix socket, in bytes (unix(7), sun_path).
_LONGEST = 107


def parse(listen: str) -> tuple[str, int]:
    """Return (address, port) of a ListenStream= value; a unix socket is (path, 0).

    :raises ValueError: it is none of the three forms above.
    """
    if listen.startswith("/"):
        if os.path.normpath(listen) != listen or re.search(r"[\s%]", listen):
            raise ValueError("not a plain absolute path")
        if len(os.fsencode(listen)) > _LONGEST:
            raise ValueError(f"the path of a unix socket has {_LONGEST} bytes at the most")
        return listen, 0
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", listen)
    if not match:
        raise ValueError("neither ADDRESS:PORT, [IPV6]:PORT nor an absolute path")
    version6, version4, port = match.groups()
    address = ipaddress.IPv6Address(version6) if version6 else ipaddress.IPv4Address(version4)
    if not 1 <= int(port) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return str(address), int(port)


def conflict(
    rows: Iterable[Listening], listen: str, own_units: Collection[str]
) -> Listening | None:
    """Return the row of the survey that keeps us from listening at ``listen``, or None.

    :param rows: what :func:`survey` returned.
    :param listen: the ListenStream= value.
    :param own_units: units whose sockets are not in the way, because they are ours to replace.
    """
    wanted = parse(listen)
    for row in rows:
        if row["unit"] not in own_units and overlap(wanted, (row["address"], row["port"])):
            return row
    return None


def overlap(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Say whether two (address, port) cannot both be listened on.

    '::' takes the port of every IPv4 address as well, unless its owner said
    otherwise, which cannot be seen from outside: it counts as taking them.
    """
    addresses = {one[0], other[0]}
    if one[1] != other[1]:
        return False
    if one[1] == 0 or len(addresses) == 1:
        return len(addresses) == 1
    if "::" in addresses:
        return True
    return "0.0.0.0" in addresses and not any(":" in address for address in addresses)


def owner(row: Listening | GpuClient) -> str:
    """Return who holds a row's socket, in words: process, pid and unit, as far as known."""
    if not row["pid"]:
        return "a process that cannot be seen from here"
    of_unit = f" of {row['unit']}" if row["unit"] else ""
    return f"{row['process']} (pid {row['pid']}){of_unit}"


def survey(
    proc: str = "/proc", run: Run = commands.run, files: OpenFiles | None = None
) -> list[Listening]:
    """Return one row per listening TCP or unix stream socket: address, port, pid, process, unit.

    A socket that several processes share belongs to the oldest, which is
    systemd for a socket it passes on: such a row names the .socket unit. An
    owner that cannot be seen has pid 0 and empty names.

    :param proc: where procfs is mounted; needs root to see every owner.
    :param run: what runs ``systemctl``.
    :param files: what processes have open; looked at anew where it is None.
    """
    files = files or OpenFiles(proc)
    sockets = _sockets(proc)
    holders = {inode: files.holders_of_socket(inode) for inode in sockets}
    by_systemd = _units_of_sockets(run) if any(1 in pids for pids in holders.values()) else {}
    owners = {inode: _owner(pids, sockets[inode] in by_systemd) for inode, pids in holders.items()}
    known = {
        pid: (_text(proc, pid, "comm"), _text(proc, pid, "cgroup")) for pid in set(owners.values())
    }
    rows: list[Listening] = []
    for inode, (address, port) in sockets.items():
        pid = owners[inode]
        comm, cgroups = known[pid]
        unit = by_systemd.get((address, port), "") if pid == 1 else unit_of(cgroups)
        process = processes.named(comm)
        rows.append(
            {"address": address, "port": port, "pid": pid, "process": process, "unit": unit}
        )
    return sorted(rows, key=lambda row: (row["port"], row["address"], row["pid"]))


def _owner(pids: Sequence[int], is_known: bool) -> int:
    """Return the oldest of the processes that have a socket open, 0 for none.

    systemd forgets which unit a socket was for when the unit's address is edited under it; the
    service that it was passed to still tells.

    :param is_known: whether systemd names a unit for it.
    """
    others = [pid for pid in pids if pid > 1]
    return (others if pids[:1] == [1] and others and not is_known else [*pids, 0])[0]


def unit_of(cgroups: str) -> str:
    """Return the system unit in the text of a /proc/PID/cgroup, or ''."""
    for line in cgroups.split("\n"):
        _hierarchy, _colon, rest = line.partition(":")
        controller, _colon, path = rest.partition(":")
        if controller in ("", "name=systemd"):
            for part in path.split("/"):
                if part.endswith((".service", ".scope")):
                    return part
    return ""


def _sockets(proc: str) -> dict[str, tuple[str, int]]:
    """Return {inode: (address, port)} of every listening socket."""
    sockets = proc_net.tcp_sockets(proc, proc_net.TCP_LISTEN)
    sockets.update({inode: (path, 0) for inode, path in unix_sockets.listening(proc).items()})
    return sockets


def _text(proc: str, pid: int, name: str) -> str:
    """Return a file of a process, '' once the process is gone."""
    try:
        with processes.opened(os.path.join(proc, str(pid), name)) as handle:
            return handle.read(files.TEXT_LIMIT)
    except OSError:
        return ""


def _units_of_sockets(run: Run) -> dict[tuple[str, int], str]:
    """Return {(address, port): .socket unit} of the stream sockets that systemd holds."""
    try:
        answer = run(
            ["systemctl", "show", "--property=Id,Listen", "--", "*.socket"],
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    units = {}
    for block in answer.split("\n\n"):
        lines = [line.split("=", 1) for line in block.splitlines() if "=" in line]
        unit = next((value for key, value in lines if key == "Id"), "")
        for key, value in lines:
            listen, _space, kind = value.rpartition(" ")
            if key == "Listen" and kind == "(Stream)":
                with contextlib.suppress(ValueError):
                    units[parse(listen)] = unit
    return units
