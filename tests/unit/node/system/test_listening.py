"""Who listens where, from the running kernel and from recorded tables."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import listening


def no_systemd(*_arguments, **_options):
    raise FileNotFoundError("systemctl")


def rows_at(address, port, **options):
    rows = listening.survey(run=no_systemd, **options)
    return [row for row in rows if (row["address"], row["port"]) == (address, port)]


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_listening_socket_is_found_with_its_process(family, address):
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        (row,) = rows_at(address, port)
    assert row["pid"] == os.getpid()
    assert row["process"]
    assert rows_at(address, port) == []


def test_a_listening_unix_socket_is_found_by_its_path(tmp_path):
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert rows_at(path, 0) == []
        server.listen()
        (row,) = rows_at(path, 0)
    assert row["pid"] == os.getpid()


@pytest.mark.parametrize("odd_path", ["a\nb.sock", "\nb.sock"])
def test_a_line_break_in_the_path_of_a_socket_is_no_error(odd_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as odd, socket.socket(socket.AF_UNIX) as server:
        odd.bind(odd_path)
        server.bind(path)
        odd.listen()
        server.listen()
        assert len(rows_at(path, 0)) == 1


def test_an_open_file_whose_path_is_too_long_hides_no_socket():
    with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as opened:
        folder = os.open(top, os.O_RDONLY)
        # Longer than what the kernel tells of a path, which is 4096.
        for _level in range(20):
            opened.callback(os.close, folder)
            os.mkdir("x" * 250, dir_fd=folder)
            folder = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        opened.callback(os.close, folder)
        with pytest.raises(OSError, match="too long"):
            os.readlink(f"/proc/self/fd/{folder}")
        with socket.create_server(("127.0.0.1", 0)) as server:
            (row,) = rows_at(*server.getsockname())
    assert row["pid"] == os.getpid()


def test_a_host_without_procfs_is_no_error(tmp_path):
    assert listening.survey(str(tmp_path / "proc"), no_systemd) == []


def test_a_connected_socket_is_not_a_listening_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert rows_at("127.0.0.1", client.getsockname()[1]) == []


def recorded(folder, inode, holders):
    """Make a proc tree with one socket on 127.0.0.1:9001, held by {pid: cgroup}."""
    (folder / "net").mkdir()
    (folder / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:2329 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 "
        f"{inode} 1 0000000000000000 100 0 0 10 0\n"
    )
    for pid, cgroup in holders.items():
        process = folder / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (process / "comm").write_text("systemd\n" if pid == 1 else "python\n")
        (process / "cgroup").write_text(cgroup)
    return str(folder)


def systemd_that_lists(unit, listen):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 0, f"Id={unit}\nListen={listen} (Stream)\n", "")

    return run


def test_a_socket_that_systemd_passes_on_belongs_to_its_socket_unit(tmp_path):
    proc = recorded(tmp_path, 77, {1: "0::/init.scope\n", 50: "0::/system.slice/web.service\n"})
    (row,) = listening.survey(proc, systemd_that_lists("web.socket", "127.0.0.1:9001"))
    assert (row["pid"], row["unit"]) == (1, "web.socket")


def test_a_socket_that_systemd_does_not_name_has_no_unit(tmp_path):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 0, "Listen=127.0.0.1:9001 (Stream)\n", "")

    (row,) = listening.survey(recorded(tmp_path, 77, {1: "0::/init.scope\n"}), run)
    assert (row["pid"], row["unit"]) == (1, "")


def test_a_socket_whose_unit_was_edited_since_belongs_to_the_service_it_was_passed_to(tmp_path):
    proc = recorded(tmp_path, 77, {1: "0::/init.scope\n", 50: "0::/system.slice/web.service\n"})
    (row,) = listening.survey(proc, systemd_that_lists("web.socket", "127.0.0.1:9002"))
    assert (row["pid"], row["unit"]) == (50, "web.service")


def test_a_socket_shared_by_workers_is_one_row_of_the_oldest(tmp_path):
    cgroup = "1:name=systemd:/\n0::/system.slice/web.service\n"
    proc = recorded(tmp_path, 77, {312: cgroup, 50: cgroup, 311: cgroup})
    (row,) = listening.survey(proc, no_systemd)
    assert row == {
        "address": "127.0.0.1",
        "port": 9001,
        "pid": 50,
        "process": "python",
        "unit": "web.service",
    }


def test_a_socket_nobody_can_be_seen_to_hold_has_no_owner(tmp_path):
    (row,) = listening.survey(recorded(tmp_path, 77, {}), no_systemd)
    assert (row["pid"], row["process"], row["unit"]) == (0, "", "")
    assert listening.owner(row) == "a process that cannot be seen from here"


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/web.service\n", "web.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n",
            "user@1000.service",
        ),
        ("9:name=systemd:/system.slice/ssh.service\n4:memory:/a.service\n", "ssh.service"),
        ("4:memory:/a.service\n0::/\n", ""),
        ("", ""),
        ("rubbish\n0:\n0::/system.slice/web.service\n", "web.service"),
        ("0::/x\r0::/y.slice/\n", ""),
    ],
)
def test_the_unit_is_the_one_of_the_system_manager(cgroups, unit):
    assert listening.unit_of(cgroups) == unit


@pytest.mark.parametrize(
    ("listen", "parsed"),
    [
        ("0.0.0.0:9001", ("0.0.0.0", 9001)),
        ("[::]:9001", ("::", 9001)),
        ("[2001:DB8:0::1]:80", ("2001:db8::1", 80)),
        ("/run/app/app.sock", ("/run/app/app.sock", 0)),
    ],
)
def test_an_address_is_read_as_systemd_writes_it(listen, parsed):
    assert listening.parse(listen) == parsed


@pytest.mark.parametrize(
    "listen",
    ["9001", "localhost:9001", "0.0.0.0", "0.0.0.0:0", "0.0.0.0:65536", "256.0.0.1:80", "::1:80",
     "run/app.sock", "/run/../app.sock", "/run/a b", "@abstract", ""],
)  # fmt: skip
def test_what_is_no_address_is_refused(listen):
    with pytest.raises(ValueError, match=r"(path|PORT|65535|Octet)"):
        listening.parse(listen)


def row(address, port, unit=""):
    return {"address": address, "port": port, "pid": 9, "process": "nginx", "unit": unit}


@pytest.mark.parametrize(
    ("wanted", "held", "taken"),
    [
        ("0.0.0.0:80", ("127.0.0.1", 80), True),
        ("127.0.0.1:80", ("0.0.0.0", 80), True),
        ("127.0.0.1:80", ("127.0.0.2", 80), False),
        ("127.0.0.1:80", ("127.0.0.1", 81), False),
        ("0.0.0.0:80", ("::", 80), True),
        ("[::]:80", ("10.0.0.1", 80), True),
        ("[::1]:80", ("0.0.0.0", 80), False),
        ("[::1]:80", ("fe80::1", 80), False),
        ("/run/a.sock", ("/run/a.sock", 0), True),
        ("/run/a.sock", ("/run/b.sock", 0), False),
        ("/run/a.sock", ("::", 0), False),
    ],
)
def test_addresses_are_in_each_others_way_when_both_cannot_be_listened_on(wanted, held, taken):
    assert bool(listening.conflict([row(*held)], wanted, [])) is taken


def test_our_own_socket_is_not_in_our_way_and_its_neighbour_is():
    mine, other = row("0.0.0.0", 80, "web.socket"), row("127.0.0.1", 80, "nginx.service")
    assert listening.conflict([mine], "0.0.0.0:80", ["web.socket"]) is None
    found = listening.conflict([mine, other], "0.0.0.0:80", ["web.socket"])
    assert listening.owner(found) == "nginx (pid 9) of nginx.service"
