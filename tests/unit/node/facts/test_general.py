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
    monkeypatch.setattr(general, "_SERVER_S", 0.2)
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
