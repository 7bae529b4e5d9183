"""A host with very many processes and sockets: what a look reads of each, counted."""

from __future__ import annotations

import builtins
import collections
import ipaddress
import os
import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import gpu_host
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    listening,
    proc_net,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.open_files import (
    OpenFiles,
)

CROWD, LISTENING, CONNECTIONS = 400, 300, 500
# One has all the sockets but the first, which nobody has; each tenth has a GPU open, one a display.
SERVER, SHOWING = 1200, 1201
HEADING = "sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid inode\n"


def _row(port, state, inode):
    return f"0: 0100007F:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1 0 100 0 0 10 0\n"


def _host():
    """Return (files, links) of the host."""
    listens = [_row(2000 + at, "0A", 5000 + at) for at in range(LISTENING)]
    connected = [_row(443, "01", 9000 + at) for at in range(CONNECTIONS)]
    files = {
        "/proc/modules": "nvidia_drm 1 2 - Live 0x0\nnvidia 1 90 nvidia_drm, Live 0x0\n",
        "/proc/net/tcp": "".join([HEADING, *listens, *connected]),
        "/proc/mounts": "",
    }
    links = {"/sys/class/drm/card0/device/driver": "/sys/bus/pci/drivers/nvidia"}
    for pid in range(1000, 1000 + CROWD):
        opened = ["/dev/null", "pipe:[7]", "/var/log/some"]
        opened += ["/dev/nvidia0"] if pid % 10 == 0 else []
        opened += ["/dev/dri/card0"] if pid == SHOWING else []
        if pid == SERVER:
            opened += [f"socket:[{5000 + at}]" for at in range(1, LISTENING)]
        files |= {f"/proc/{pid}/comm": f"p{pid}\n", f"/proc/{pid}/cgroup": "0::/a.service\n"}
        files[f"/proc/{pid}/status"] = f"Name:\tp{pid}\nPPid:\t1\n"
        links |= {f"/proc/{pid}/fd/{number}": path for number, path in enumerate(opened)}
    return files, links


class Reads:
    """Counts what is read below a folder: {(how, what of a process): how often}."""

    def __init__(self, monkeypatch, folder):
        self.count = collections.Counter()
        self._proc = str(folder / "proc")
        for module, name in ((os, "listdir"), (os, "readlink"), (builtins, "open")):
            monkeypatch.setattr(module, name, self._counting(name, getattr(module, name)))

    def _counting(self, name, really):
        def read(path, *arguments, **options):
            if isinstance(path, str) and path.startswith(f"{self._proc}/1"):
                # Of all processes it is counted together.
                _pid, *rest = os.path.relpath(path, self._proc).split(os.sep)
                self.count[name, "/".join(rest[:1])] += 1
            return really(path, *arguments, **options)

        return read


@pytest.fixture
def looked_at(tmp_path, monkeypatch):
    """Return (facts of GPUs, rows of who listens, Reads) of a look at the host."""
    files, links = _host()
    planted(tmp_path, files, links)
    proc, opened = str(tmp_path / "proc"), OpenFiles(str(tmp_path / "proc"))

    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 1, b"", b"")

    # Rooted elsewhere, links of a tree are followed part by part, which a host does by itself.
    tree_path = f"{gpu_host.Root.__module__}.Root.path"
    monkeypatch.setattr(tree_path, lambda tree, path: tree._below(path))
    reads = Reads(monkeypatch, tmp_path)
    facts = gpu_host.survey(str(tmp_path), "", 0, run, opened)
    return facts, listening.survey(proc, run, opened), reads


def test_each_process_is_looked_at_once_whoever_asks(looked_at):
    _facts, _rows, reads = looked_at
    _files, links = _host()
    assert reads.count["listdir", "fd"] == CROWD
    assert reads.count["readlink", "fd"] == sum("/fd/" in path for path in links)


def test_only_of_those_that_are_told_the_name_and_unit_are_read(looked_at):
    facts, rows, reads = looked_at
    # Those with a GPU, the one with a display, and the one with all the sockets.
    told = len(facts["gpu_clients"]) + 1 + 1
    assert (len(facts["gpu_clients"]), len(rows)) == (CROWD // 10, LISTENING)
    assert reads.count["open", "comm"] == reads.count["open", "cgroup"] == told
    assert set(reads.count) <= {
        ("listdir", "fd"),
        ("readlink", "fd"),
        ("open", "comm"),
        ("open", "cgroup"),
    }


def test_what_is_found_is_so_all_the_same(looked_at):
    facts, rows, _reads = looked_at
    by_port = {row["port"]: (row["pid"], row["process"], row["unit"]) for row in rows}
    assert by_port[2000] == (0, "", "")
    assert set(by_port.values()) == {(0, "", ""), (SERVER, f"p{SERVER}", "a.service")}
    (held,) = facts["held_modules"]
    assert [client["pid"] for client in held["clients"]] == [SHOWING]


def test_of_connections_only_those_are_understood_that_matter(tmp_path, monkeypatch):
    table = HEADING + "".join(_row(443, "01", 9000 + at) for at in range(CONNECTIONS))
    planted(tmp_path, {"/proc/net/tcp": table})
    understood = []
    really = ipaddress.ip_address
    monkeypatch.setattr(
        ipaddress, "ip_address", lambda data: understood.append(data) or really(data)
    )
    found = proc_net.tcp_sockets(str(tmp_path / "proc"), proc_net.TCP_ESTABLISHED, {"9007"})
    assert (list(found), len(understood)) == (["9007"], 1)
