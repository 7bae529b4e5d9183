"""The lab's private network: one bridge, one subnet, NAT to the outside."""

from __future__ import annotations

import ipaddress
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from lab.command import run
from lab.errors import LabError

SPACE = ipaddress.ip_network("10.213.0.0/16")
_PREFIX_LENGTH = 24
_FIRST_NODE_HOST = 10
MAX_NODES = 200
#: After the nodes and the guest.
_FIRST_KERNEL_HOST = 220
MAX_KERNEL_HOSTS = 9
_IPTABLES = ["iptables", "--wait", "10"]
_ANSWERS = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"]


@dataclass(frozen=True)
class Network:
    """A lab's bridge and subnet."""

    bridge: str
    subnet: ipaddress.IPv4Network
    label: str

    @property
    def address(self):
        """The machine's own address on the bridge, the nodes' gateway."""
        return str(self.subnet[1])

    def node_address(self, number):
        """Return the address of node ``number``, counted from 1."""
        return str(self.subnet[_FIRST_NODE_HOST + number])

    def kernel_host_address(self, number):
        """Return the address of kernel host ``number``, counted from 1."""
        return str(self.subnet[_FIRST_KERNEL_HOST + number])


def candidates(lab_id):
    """Return all subnets of the space, beginning with the one that the lab's id names."""
    subnets = list(SPACE.subnets(new_prefix=_PREFIX_LENGTH))
    first = int(lab_id, 16) % len(subnets)
    return subnets[first:] + subnets[:first]


def choose_subnet(lab_id, recorded, taken):
    """Return the subnet for a lab: the one it has, or its first candidate that is free.

    :param recorded: the subnet that the lab has had so far, or None.
    :param taken: networks in other use; what overlaps one of them is not free,
        a subnet that the lab has had included.
    :raises LabError: none is free.
    """
    known = [] if recorded is None else [recorded]
    for subnet in known + candidates(lab_id):
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise LabError(
        f"no /{_PREFIX_LENGTH} of {SPACE} is free: this machine's routes and its other "
        "labs take them all. `ip route show table all` shows the routes"
    )


def routed(routes, bridge):
    """Return the IPv4 networks of ``ip -j route``'s output that do not lead to ``bridge``."""
    return [
        ipaddress.ip_network(route["dst"])
        for route in routes
        if route["dst"] != "default" and route.get("dev") != bridge
    ]


def machine_routes(bridge):
    """Return the networks that this machine routes elsewhere than to ``bridge``."""
    shown = run(["ip", "-4", "-j", "route", "show", "table", "all"]).stdout
    return routed(json.loads(shown or "[]"), bridge)


def rules(network):
    """Return the lab's firewall rules as (table, chain, arguments), each with the lab's label.

    Nodes may open connections to the outside and to this machine; from the
    outside only answers come in. Needed where a policy is DROP, as container
    engines set it.
    """
    bridge, subnet = network.bridge, str(network.subnet)
    label = _labelled(network.label)
    return [
        ("nat", "POSTROUTING", ["-s", subnet, "!", "-d", subnet, *label, "-j", "MASQUERADE"]),
        ("filter", "FORWARD", ["-i", bridge, *label, "-j", "ACCEPT"]),
        ("filter", "FORWARD", ["-o", bridge, *_ANSWERS, *label, "-j", "ACCEPT"]),
        ("filter", "INPUT", ["-i", bridge, *label, "-j", "ACCEPT"]),
    ]


def confining_rules(network, address, port):
    """Return the rules that leave a node nothing but a TCP port of this machine, the last on top.

    :param address: the node's.
    """
    source, label = ["-i", network.bridge, "-s", address], _labelled(_confined(network.label))
    to_port = ["-p", "tcp", "--dport", str(port)]
    return [
        ("filter", "FORWARD", [*source, *label, "-j", "REJECT"]),
        ("filter", "INPUT", [*source, *label, "-j", "REJECT"]),
        ("filter", "INPUT", [*source, *to_port, *label, "-j", "ACCEPT"]),
        ("filter", "INPUT", [*source, *_ANSWERS, *label, "-j", "ACCEPT"]),
    ]


def deletions(listing, label):
    """Return the arguments that delete the rules of ``label`` from `iptables -S`'s output."""
    words = [shlex.split(line) for line in listing.splitlines()]
    return [["-D", *rule[1:]] for rule in words if rule[:1] == ["-A"] and label in rule]


def exists(interface):
    """Return whether this machine has a network interface of that name."""
    return Path(f"/sys/class/net/{interface}").exists()


def ensure(network):
    """Bring up the bridge with its address, forwarding and the firewall rules, no node confined."""
    if not exists(network.bridge):
        run(["ip", "link", "add", network.bridge, "type", "bridge"])
    interface = f"{network.address}/{network.subnet.prefixlen}"
    run(["ip", "address", "replace", interface, "dev", network.bridge])
    run(["ip", "link", "set", network.bridge, "up"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="ascii")
    free(network.label)
    for table, chain, arguments in rules(network):
        there = run([*_IPTABLES, "-t", table, "-C", chain, *arguments], check=False)
        if there.returncode:
            run([*_IPTABLES, "-t", table, "-I", chain, *arguments])


def remove(bridge, label):
    """Remove the bridge and every firewall rule of the lab, whatever is there of them."""
    free(label)
    _delete_rules(label)
    remove_interface(bridge)


def confine(network, address, port):
    """Leave the node with this address nothing but one TCP port of this machine."""
    for table, chain, arguments in confining_rules(network, address, port):
        run([*_IPTABLES, "-t", table, "-I", chain, *arguments])


def free(label):
    """Undo :func:`confine` for every node of the lab with this label."""
    _delete_rules(_confined(label))


def add_tap(name, bridge):
    """Make an interface that a process of this machine is at the other end of, on a bridge."""
    remove_interface(name)
    run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
    run(["ip", "link", "set", name, "master", bridge, "up"])


def remove_interface(name):
    """Remove a network interface if it is there."""
    if exists(name):
        done = run(["ip", "link", "delete", name], check=False)
        # It may have gone by itself since the look.
        if done.returncode and exists(name):
            raise LabError(f"`ip link delete {name}` fails: {done.stderr.strip()}")


def _labelled(label):
    return ["-m", "comment", "--comment", label]


def _confined(label):
    return f"{label}-confined"


def _delete_rules(label):
    for table in ("nat", "filter"):
        for arguments in deletions(run([*_IPTABLES, "-t", table, "-S"]).stdout, label):
            run([*_IPTABLES, "-t", table, *arguments])


def address_file(match, address, network):
    """Return the systemd-networkd file that gives a host its address.

    :param match: which of its interfaces is meant, such as "Name=host0".
    """
    return f"""\
[Match]
{match}

[Network]
Address={address}/{network.subnet.prefixlen}
Gateway={network.address}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
