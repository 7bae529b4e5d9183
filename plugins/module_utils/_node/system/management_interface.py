# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network interface by which a host is managed: what must not go away under a run."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from ..facts_shape import Management, RdmaDevice
from . import proc_net
from .root import Root

_INTERFACES = "/sys/class/net"
# Those of Mellanox' adapters, which openibd unloads: wjz304/mlnx-ofed-kernel@2c0186b,
# ofed_scripts/openibd, UNLOAD_MODULES.
_RDMA_DRIVERS = ("mlx4_core", "mlx5_core")
# Flags of a route, include/uapi/linux/route.h.
_UP, _REJECT = 0x1, 0x200


def survey(tree: Root, pid: int) -> Management:
    """Return {interface, lower, drivers, found_by} of what carries the connection of a process.

    :param pid: the process, a number; its SSH connection is that of the sshd it descends from.
    """
    interface, found_by = _of_ssh(tree, pid), "ssh"
    if not interface:
        interface, found_by = _of_default_route(tree), "route"
    lower = _lower(tree, interface) if interface else []
    return {
        "interface": interface,
        "lower": lower,
        "drivers": {name: driver for name in lower if (driver := _driver(tree, name))},
        "found_by": found_by if interface else "",
    }


def runs_over(management: Management, rdma_devices: Iterable[RdmaDevice]) -> list[str]:
    """Return the interfaces of RDMA devices that carry the connection to a host; [] for none.

    Be it by themselves or below a bond, a bridge, a VLAN or a partition.

    :param management: what :func:`survey` returned.
    :param rdma_devices: rows of rdma_stack.devices.
    """
    interfaces = {name for row in rdma_devices for name in row["interfaces"]}
    # Ethernet alone needs no RDMA device, and goes down with its driver as well.
    driven = {name for name, driver in management["drivers"].items() if driver in _RDMA_DRIVERS}
    return sorted(interfaces.intersection(management["lower"]) | driven)


def _of_ssh(tree: Root, pid: int) -> str:
    """Return the interface by which an SSH connection comes in, '' where there is none.

    A connection to the host's own loopback comes from a relay on it, and the relay's from
    elsewhere.
    """
    address = _ssh_address(tree, pid)
    interface = _interface_of(tree, address) if address else ""
    return "" if interface == "lo" else interface


def _ssh_address(tree: Root, pid: int) -> str:
    """Return the local address of the connection that the outermost sshd above a process holds.

    The outermost, because the one below it, which runs as the user, may hold what the user
    forwards, too; and its lowest descriptor, because what sshd opens itself (a directory server's
    connection, say) comes after the connection that it was started for.
    """
    held: list[list[str]] = []
    seen = set()
    while pid and pid not in seen:
        seen.add(pid)
        status = tree.text(f"/proc/{pid}/status")
        if re.match(r"Name:\s*sshd", status):
            held.append(_sockets_of(tree, pid))
        parent = re.search(r"^PPid:\s*([0-9]{1,9})$", status, re.MULTILINE)
        pid = int(parent.group(1)) if parent else 0
    among = {inode for inodes in held for inode in inodes}
    if not among:
        return ""
    connections = proc_net.tcp_sockets(tree.path("/proc"), proc_net.TCP_ESTABLISHED, among)
    outermost_first = [inode for inodes in reversed(held) for inode in inodes]
    return next((connections[inode][0] for inode in outermost_first if inode in connections), "")


def _sockets_of(tree: Root, pid: int) -> list[str]:
    """Return the inodes of the sockets a process has open, in the order of its descriptors."""
    folder = f"/proc/{pid}/fd"
    descriptors = sorted(tree.names(folder), key=lambda name: (len(name), name))
    links = [re.fullmatch(r"socket:\[(\d+)\]", tree.target(f"{folder}/{fd}")) for fd in descriptors]
    return [link.group(1) for link in links if link]


def _interface_of(tree: Root, address: str) -> str:
    """Return the interface that has an address, '' where ip cannot tell."""
    answer = tree.answer("ip", "-oneline", "address")
    line = rf"^\d+: (\S+)\s+inet6? {re.escape(_plain(address))}[/\s]"
    found = re.search(line, answer, re.MULTILINE)
    return found.group(1) if found else ""


def _plain(address: str) -> str:
    """Return an address as ip writes it: IPv4 that comes in at an IPv6 socket is IPv4."""
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _of_default_route(tree: Root) -> str:
    """Return the interface of the default route with the least metric, IPv4 before IPv6."""
    interfaces = tree.names(_INTERFACES)
    for table, parse in (("route", _ipv4_default), ("ipv6_route", _ipv6_default)):
        routes = [parse(line.split()) for line in tree.lines(f"/proc/net/{table}")]
        usable = [route for route in routes if route and route[1] in interfaces]
        if usable:
            return min(usable)[1]
    return ""


def _ipv4_default(fields: Sequence[str]) -> tuple[int, str] | None:
    """Return (metric, interface) of a row of /proc/net/route that is a default route, or None.

    Interface, destination, gateway, flags, two counters, metric, mask.
    """
    try:
        interface, destination, _gateway, flags, _references, _use, metric, mask = fields[:8]
        is_default = destination == mask == "00000000" and _leads_out(flags)
        return (int(metric), interface) if is_default else None
    except ValueError:
        return None


def _ipv6_default(fields: Sequence[str]) -> tuple[int, str] | None:
    """Return (metric, interface) of a row of /proc/net/ipv6_route that is a default route, or None.

    Destination and its length, source and its length, gateway, metric, two counters, flags,
    interface.
    """
    try:
        destination, length, *_ways, metric, _references, _use, flags, interface = fields
        is_default = destination == "0" * 32 and length == "00" and _leads_out(flags)
        return (int(metric, 16), interface) if is_default else None
    except ValueError:
        return None


def _leads_out(flags: str) -> bool:
    return int(flags, 16) & (_UP | _REJECT) == _UP


def _driver(tree: Root, interface: str) -> str:
    """Return the driver of an interface's device, '' where it has none."""
    return tree.target(f"{_INTERFACES}/{interface}/device/driver")


def _lower(tree: Root, interface: str) -> list[str]:
    """Return an interface and all below it, each once, the upper ones first.

    The kernel links the devices under a bond, a bridge or a VLAN as lower_NAME; the one under
    an InfiniBand partition stands in the file "parent" (torvalds/linux@
    0e1c438c44dd9cde56effb44c5f1cfeda72e108d:Documentation/infiniband/ipoib.rst).
    """
    found, ahead = [], [interface]
    while ahead:
        upper = ahead.pop(0)
        if not upper or upper in found:
            continue
        found.append(upper)
        folder = f"{_INTERFACES}/{upper}"
        ahead += [name[len("lower_") :] for name in tree.names(folder) if name.startswith("lower_")]
        ahead.append(tree.text(f"{folder}/parent"))
    return found
