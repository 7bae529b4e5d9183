"""The kernel's tables of sockets, recorded ones and broken ones."""

from __future__ import annotations

import ipaddress
import os

from hypothesis import given
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import proc_net

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def row(address, state, inode):
    return f"   0: {address} 00000000:0000 {state} 0:0 00:0 0  0  0 {inode} 1 0 100 0 0 10 0\n"


TCP = HEADING + row("050200C0:0016", "01", 70) + row("0100007F:2329", "0A", 71)
TCP6 = HEADING + row("0000000000000000FFFF0000050200C0:0016", "01", 72)


def test_sockets_in_a_state_are_found_with_their_address(tmp_path):
    proc = planted(tmp_path, {"/proc/net/tcp": TCP, "/proc/net/tcp6": TCP6}).path("/proc")
    assert proc_net.tcp_sockets(proc, proc_net.TCP_LISTEN) == {"71": ("127.0.0.1", 9001)}
    found = proc_net.tcp_sockets(proc, proc_net.TCP_ESTABLISHED)
    assert found.pop("70") == ("192.0.2.5", 22)
    assert list(found) == ["72"]
    address, port = found["72"]
    # Pythons write such an address in different ways.
    mapped = ipaddress.ip_address(address).ipv4_mapped
    assert (mapped, port) == (ipaddress.ip_address("192.0.2.5"), 22)


def test_a_broken_row_hides_no_other(tmp_path):
    broken = row("XYZ:0016", "01", 9), "   1: 0100007F 0 0A\n", row("0100007F", "01", 9), "\n"
    table = "".join([HEADING, *broken, row("0100007F:50", "01", 8)])
    proc = planted(tmp_path, {"/proc/net/tcp": table}).path("/proc")
    sockets = proc_net.tcp_sockets(proc, proc_net.TCP_ESTABLISHED)
    assert sockets == {"8": ("127.0.0.1", 80)}


def listening(tree):
    return proc_net.tcp_sockets(tree.path("/proc"), proc_net.TCP_LISTEN)


@given(st.binary())
def test_no_content_is_an_error(content):
    assert isinstance(looked_at(listening, {"/proc/net/tcp": content}), dict)


def test_a_folder_in_the_place_of_a_table_is_none():
    assert looked_at(listening, {"/proc/net/tcp/folder": ""}) == {}


def test_a_pipe_in_the_place_of_a_table_keeps_nobody_waiting(tmp_path):
    (tmp_path / "net").mkdir()
    os.mkfifo(tmp_path / "net" / "tcp")
    assert proc_net.tcp_sockets(str(tmp_path), proc_net.TCP_LISTEN) == {}
