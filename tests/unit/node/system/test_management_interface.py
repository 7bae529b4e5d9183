"""By which interface a host is managed, from recorded processes, sockets and routes."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import management_interface
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
OURS, FORWARDED = "050200C0:0016", "0500000A:C350"
ADDRESSES = (
    "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
    "9: eth9    inet 192.0.2.50/24 brd 192.0.2.255 scope global eth9\\       valid_lft forever\n"
    "2: eth0    inet 192.0.2.5/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever\n"
    "2: eth0    inet6 2001:db8::5/64 scope global \\       valid_lft forever\n"
    "3: ibs1    inet 10.0.0.5/8 brd 10.255.255.255 scope global ibs1\\       valid_lft forever\n"
    "4: tun0    inet 198.51.100.7 peer 198.51.100.8/32 scope global tun0\\       forever\n"
)
# What ran: the listener, the root half and the user half of a session, a shell, sudo and python.
FAMILY = {1: ("systemd", 0), 100: ("sshd", 1), 200: ("sshd-session", 100),
          201: ("sshd-session", 200), 300: ("sh", 201), 301: ("sudo", 300),
          302: ("python3", 301)}  # fmt: skip
ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    "ibs1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
    "eth1\t00000000\t010200C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
)


def connections(sockets):
    """Return the files of a /proc/net with sockets, {inode: (address, state)}."""
    rows = [
        f"   0: {address} 090200C0:9999 {state} 0:0 00:0 0  0  0 {inode} 1 0 100 0 0 10 0\n"
        for inode, (address, state) in sockets.items()
    ]
    return {"/proc/net/tcp": HEADING + "".join(rows)}


def processes(family):
    """Return the files of processes, {id: (name, id of the parent)}."""
    return {
        f"/proc/{pid}/status": f"Name:\t{name}\nUmask:\t0022\nPid:\t{pid}\nPPid:\t{parent}\n"
        for pid, (name, parent) in family.items()
    }


def held(holders):
    """Return the links of open sockets, {(process, descriptor): inode}."""
    return {f"/proc/{pid}/fd/{fd}": f"socket:[{inode}]" for (pid, fd), inode in holders.items()}


def session(root, sockets, holders, files=None, answers=None):
    """Return the tree of a session that runs as in FAMILY."""
    files = {**processes(FAMILY), **connections(sockets), **(files or {})}
    return planted(root, files, held(holders), {"ip": ADDRESSES} if answers is None else answers)


def interfaces(*names):
    return {f"/sys/class/net/{name}/ifindex": "2\n" for name in names}


def test_the_interface_is_the_one_with_the_address_at_which_ssh_came_in(tmp_path):
    sockets = {70: (OURS, "01"), 71: ("00000000:0016", "0A")}
    tree = session(tmp_path, sockets, {(100, 3): 71, (200, 4): 70, (201, 4): 70})
    assert management_interface.survey(tree, 302) == {
        "interface": "eth0",
        "lower": ["eth0"],
        "drivers": {},
        "found_by": "ssh",
    }


def test_a_process_below_an_older_sshd_is_found_as_well(tmp_path):
    sockets = {70: (OURS, "01")}
    files = processes({200: ("sshd", 100), 201: ("sshd", 200)})
    tree = session(tmp_path, sockets, {(200, 3): 70}, files)
    assert management_interface.survey(tree, 302)["interface"] == "eth0"


def test_what_the_user_forwards_is_not_the_connection(tmp_path):
    sockets = {70: (OURS, "01"), 80: (FORWARDED, "01")}
    tree = session(tmp_path, sockets, {(200, 4): 70, (201, 3): 80, (201, 4): 70})
    assert management_interface.survey(tree, 302)["interface"] == "eth0"


def test_what_sshd_opened_later_is_not_the_connection(tmp_path):
    sockets = {70: (OURS, "01"), 80: (FORWARDED, "01")}
    tree = session(tmp_path, sockets, {(200, 4): 70, (200, 10): 80})
    assert management_interface.survey(tree, 302)["interface"] == "eth0"


@pytest.mark.parametrize(
    ("table", "address", "interface"),
    [
        ("tcp6", "0000000000000000FFFF0000050200C0:0016", "eth0"),
        ("tcp6", "B80D0120000000000000000005000000:0016", "eth0"),
        ("tcp", "076433C6:0016", "tun0"),
    ],
    ids=["IPv4 at an IPv6 socket", "IPv6", "a tunnel's end"],
)
def test_addresses_of_every_kind_are_told(tmp_path, table, address, interface):
    files = {f"/proc/net/{table}": connections({70: (address, "01")})["/proc/net/tcp"]}
    tree = session(tmp_path, {}, {(200, 4): 70}, files)
    assert management_interface.survey(tree, 302)["interface"] == interface


@pytest.mark.parametrize(
    ("sockets", "answers"),
    [
        ({}, None),
        ({70: ("0100007F:0016", "01")}, None),
        ({70: (OURS, "01")}, {}),
        ({70: ("630200C0:0016", "01")}, None),
    ],
    ids=["no connection", "by loopback", "no ip", "an address that is gone"],
)
def test_where_ssh_does_not_tell_the_default_route_does(tmp_path, sockets, answers):
    files = {"/proc/net/route": ROUTES, **interfaces("eth0", "eth1", "ibs1")}
    tree = session(tmp_path, sockets, {(200, 4): 70}, files, answers)
    state = management_interface.survey(tree, 302)
    assert (state["interface"], state["found_by"]) == ("eth0", "route")


def ipv6_route(interface, metric, flags, destination="0" * 32, length="00"):
    zero = "0" * 32
    fields = [destination, length, zero, "00", zero, f"{metric:08x}", "1", "0", flags, interface]
    return " ".join(fields) + "\n"


def test_a_host_that_has_ipv6_alone_has_a_default_route(tmp_path):
    routes = (
        ipv6_route("eth1", 1024, "00000003")
        + ipv6_route("lo", 1, "00000201")
        + ipv6_route("ibs1", 1, "00000001", length="60")
        + ipv6_route("ibs1", 1, "00000001", "20010db8" + "0" * 24, "40")
        + ipv6_route("eth0", 100, "00000003")
        + ipv6_route("", 1, "00000003")
    )
    files = {"/proc/net/ipv6_route": routes, **interfaces("lo", "eth0", "eth1", "ibs1")}
    assert management_interface.survey(planted(tmp_path, files), 1)["interface"] == "eth0"


def test_a_host_without_connection_and_route_has_no_interface(tmp_path):
    nothing = {"interface": "", "lower": [], "drivers": {}, "found_by": ""}
    assert management_interface.survey(planted(tmp_path), 302) == nothing


def test_devices_below_are_followed_through_bridge_vlan_bond_and_partition(tmp_path):
    route = "br0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    names = ("br0", "bond0.7", "bond0", "eth0", "ib0.8001", "ib0")
    links = {"br0": ["bond0.7"], "bond0.7": ["bond0"], "bond0": ["eth0", "ib0.8001"]}
    lower = {
        f"/sys/class/net/{upper}/lower_{name}": f"../{name}"
        for upper, below in links.items()
        for name in below
    }
    parent = {"/sys/class/net/ib0.8001/parent": "ib0\n"}
    tree = planted(tmp_path, {"/proc/net/route": route, **interfaces(*names), **parent}, lower)
    assert management_interface.survey(tree, 1)["lower"] == list(names)


@pytest.mark.parametrize(
    ("interface", "below", "carriers"),
    [
        ("ens1f0np0", {}, ["ens1f0np0"]),
        ("ib0", {}, ["ib0"]),
        ("bond0", {"bond0": ["ens1f0np0", "ens1f1np1"]}, ["ens1f0np0", "ens1f1np1"]),
        ("vlan7", {"vlan7": ["bond0"], "bond0": ["eno1", "ens1f1np1"]}, ["ens1f1np1"]),
        ("br0", {"br0": ["ens1f0np0"]}, ["ens1f0np0"]),
        ("eno1", {}, []),
        ("bond1", {"bond1": ["eno1"]}, []),
    ],
)
def test_a_connection_runs_over_the_rdma_devices_below_its_interface(
    tmp_path, interface, below, carriers
):
    files = {"/proc/net/route": f"{interface}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n"}
    files |= interfaces(interface, *below, *(name for names in below.values() for name in names))
    lower = {
        f"/sys/class/net/{upper}/lower_{name}": f"../{name}"
        for upper, names in below.items()
        for name in names
    }
    found = management_interface.survey(planted(tmp_path, files, lower), 1)
    devices = [{"interfaces": ["ens1f1np1", "ens1f0np0"]}, {"interfaces": []}]
    devices.append({"interfaces": ["ib0"]})
    assert management_interface.runs_over(found, devices) == carriers


def test_a_connection_over_a_partition_of_infiniband_runs_over_its_device(tmp_path):
    route = "ib0.8001\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    files = {"/proc/net/route": route, **interfaces("ib0.8001", "ib0")}
    files["/sys/class/net/ib0.8001/parent"] = "ib0\n"
    found = management_interface.survey(planted(tmp_path, files), 1)
    assert management_interface.runs_over(found, [{"interfaces": ["ib0"]}]) == ["ib0"]


@pytest.mark.parametrize(
    ("driver", "carriers"), [("mlx5_core", ["ens1f0"]), ("mlx4_core", ["ens1f0"]), ("ixgbe", [])]
)
def test_ethernet_of_an_adapter_without_an_rdma_device_counts_as_well(tmp_path, driver, carriers):
    route = "bond0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    links = {
        "/sys/class/net/bond0/lower_ens1f0": "../ens1f0",
        "/sys/class/net/ens1f0/device/driver": f"../../bus/pci/drivers/{driver}",
    }
    files = {"/proc/net/route": route, **interfaces("bond0", "ens1f0")}
    found = management_interface.survey(planted(tmp_path, files, links), 1)
    assert found["drivers"] == {"ens1f0": driver}
    assert management_interface.runs_over(found, []) == carriers


def test_nothing_runs_over_rdma_where_nothing_is_told():
    nothing = {"interface": "", "lower": [], "drivers": {}, "found_by": ""}
    assert management_interface.runs_over(nothing, [{"interfaces": ["ib0"]}]) == []


def test_processes_and_devices_that_go_in_circles_come_to_an_end(tmp_path):
    route = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    files = {
        "/proc/net/route": route,
        "/sys/class/net/eth0/parent": "eth0\n",
        **processes({5: ("sshd", 6), 6: ("sshd", 5)}),
    }
    assert management_interface.survey(planted(tmp_path, files), 5)["lower"] == ["eth0"]


def test_this_very_host_answers():
    state = management_interface.survey(Root(), os.getpid())
    assert state["interface"] in ["", *(name for _index, name in socket.if_nameindex())]


NAMES = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/route", "/proc/net/ipv6_route",
         "/proc/302/status", "/proc/301/status", "/sys/class/net/eth0/parent"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), st.binary()), st.binary())
def test_no_content_is_an_error(rubbish, addresses):
    files = {
        **processes(FAMILY),
        **connections({70: (OURS, "01")}),
        "/proc/net/route": ROUTES,
        **interfaces("eth0"),
        **rubbish,
    }
    links = held({(200, 4): 70})
    state = looked_at(
        lambda tree: management_interface.survey(tree, 302), files, links, {"ip": addresses}
    )
    assert [type(value) for value in state.values()] == [str, list, dict, str]


@given(st.text(st.characters(codec="utf-8")), st.text(st.sampled_from("0123456789ABCDEF:\t x")))
def test_no_row_of_a_table_is_an_error(interface, row):
    route = f"{interface}\t00000000\t{row}\t0003\t0\t0\t0\t00000000\t0\n{row}"
    files = {f"/proc/net/{table}": route for table in ("route", "ipv6_route", "tcp")}
    assert looked_at(lambda tree: management_interface.survey(tree, 302), files)["interface"] == ""
