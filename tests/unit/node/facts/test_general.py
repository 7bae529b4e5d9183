"""General facts of a host."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import general
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root


@pytest.mark.parametrize("name", ["data", "with blank", "back\\slash", "日本", "é"])
def test_a_mount_point_may_be_called_anything(tmp_path, name):
    place = tmp_path / name
    place.mkdir()
    escaped = str(place).replace("\\", "\\134").replace(" ", "\\040")
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "mounts").write_text(f"/dev/sdb1 {escaped} ext4 rw 0 0\n", encoding="utf-8")
    (row,) = general.mounts(str(tmp_path / "proc"))
    assert (row["mount"], row["fstype"]) == (str(place), "ext4")


def test_a_share_whose_server_is_away_is_left_out_and_keeps_nobody_waiting(tmp_path, monkeypatch):
    (tmp_path / "self").mkdir()
    rows = "gone:/data /mnt nfs4 rw 0 0\n", "/dev/sda1 / ext4 rw 0 0\n"
    (tmp_path / "self" / "mounts").write_text("".join(rows))
    back, really = threading.Event(), os.statvfs
    # Stands for a server that is away, which waits for its return in the kernel.
    monkeypatch.setattr(
        os, "statvfs", lambda path: back.wait(30) if path == "/mnt" else really(path)
    )
    start = time.monotonic()
    assert [row["mount"] for row in general.mounts(str(tmp_path))] == ["/"]
    assert time.monotonic() - start < 10
    back.set()


def virtualization(printed, status):
    def run(argv, **_options):
        assert argv == ["systemd-detect-virt", "--vm"]
        return subprocess.CompletedProcess(argv, status, printed, b"")

    return general.virtualization(Root(run=run))


def test_a_guest_is_named_as_systemd_names_it():
    assert virtualization(b"kvm\n", 0) == "kvm"


def test_bare_metal_which_prints_none_and_fails_is_nothing():
    assert virtualization(b"none\n", 1) == ""


# What the host's services may use of it


def tree(folder, **files):
    """Return the Root of a host with some files, named by what they are."""
    places = {
        "meminfo": "proc/meminfo",
        "cpu_max": "sys/fs/cgroup/cpu.max",
        "memory_max": "sys/fs/cgroup/memory.max",
        "status": "proc/1/status",
    }
    for name, text in files.items():
        path = folder / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Root(str(folder))


# As proc(5) has it, and what a container has of cgroups (Documentation/admin-guide/cgroup-v2.rst).
@pytest.mark.parametrize(
    ("allowed", "quota", "count"),
    [
        ("0-63", None, 64),
        ("0", None, 1),
        ("0-3,8-11,15", None, 9),
        ("0-63", "max 100000", 64),
        ("0-63", "400000 100000", 4),
        ("0-63", "250000 100000", 2),
        ("0-63", "50000 100000", 1),
        ("0-1", "800000 100000", 2),
        ("0-7", "rubbish", 8),
        ("0-7", "400000 0", 8),
    ],
)
def test_processors_are_those_that_services_may_run_on(tmp_path, allowed, quota, count):
    files = {} if quota is None else {"cpu_max": f"{quota}\n"}
    status = f"Name:\tsystemd\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed:\t1\n"
    assert general.processors(tree(tmp_path, status=status, **files)) == count


@pytest.mark.parametrize("status", ["", "Cpus_allowed_list:\t\n", "Cpus_allowed_list:\tall\n"])
def test_a_host_that_does_not_tell_its_processors_has_none_told(tmp_path, status):
    assert general.processors(tree(tmp_path, status=status)) == 0


@pytest.mark.parametrize(
    ("meminfo", "limit", "mib"),
    [
        ("MemTotal:       65805312 kB\nMemFree: 1 kB\n", None, 64263),
        ("MemTotal:       65805312 kB\n", "max", 64263),
        ("MemTotal:       65805312 kB\n", "1073741824", 1024),
        ("MemTotal:       65805312 kB\n", "1099511627776", 64263),
        ("MemFree: 1 kB\n", None, 0),
        ("", "1073741824", 0),
    ],
)
def test_memory_is_what_services_may_take(tmp_path, meminfo, limit, mib):
    files = {} if limit is None else {"memory_max": f"{limit}\n"}
    assert general.memory_mib(tree(tmp_path, meminfo=meminfo, **files)) == mib
