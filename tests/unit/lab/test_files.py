"""Files in a node's tree, locks, mounts, keys, the inventory, base trees."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from lab import base, inherit, inventory, keys, lock, mounts, textfile
from lab.errors import LabError
from lab.paths import LabPaths

KEY = "ssh-ed25519 AAAAC3Nza root@node1"


def test_a_file_is_written_once(tmp_path):
    assert textfile.put(tmp_path / "a" / "file", "text", 0o600, os.getuid())
    assert not textfile.put(tmp_path / "a" / "file", b"text", 0o600, os.getuid())
    assert textfile.put(tmp_path / "a" / "file", "text", 0o644, os.getuid())
    assert (tmp_path / "a" / "file").stat().st_mode & 0o777 == 0o644


def test_a_link_is_replaced_and_what_it_names_stays(tmp_path):
    (tmp_path / "outside").write_text("machine's own")
    (tmp_path / "resolv.conf").symlink_to("outside")
    textfile.put(tmp_path / "resolv.conf", "node's own", 0o644, os.getuid())
    assert (tmp_path / "outside").read_text() == "machine's own"
    assert not (tmp_path / "resolv.conf").is_symlink()


def test_a_path_that_leads_out_of_the_tree_is_refused(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "etc").symlink_to("/etc")
    with pytest.raises(LabError, match="leads out"):
        textfile.inside(tmp_path / "tree", "/etc/hostname")
    with pytest.raises(LabError, match="leads out"):
        textfile.inside(tmp_path / "tree", "/../hostname")
    assert textfile.inside(tmp_path / "tree", "/var/x") == tmp_path / "tree" / "var" / "x"


HOLD = """
import fcntl, sys
handle = open(sys.argv[1], "w")
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_waits_for_its_holder_and_no_longer(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(LabError, match="lock"), lock.held(path, wait_s=0.2):
            pass
        holder.kill()
    with lock.held(path, wait_s=5):
        pass


def test_mount_points_below_a_folder_come_deepest_first():
    points = mounts.below("/")
    assert points[-1] == "/"
    assert "/proc" in points
    assert mounts.is_mounted("/proc")
    assert not mounts.is_mounted("/proc/self")


def test_known_hosts_names_each_address_with_its_key():
    text = keys.known_hosts_text({"10.213.7.11": KEY})
    assert text == "10.213.7.11 ssh-ed25519 AAAAC3Nza\n"


def test_the_inventory_has_hosts_connection_and_further_variables():
    nodes = [
        SimpleNamespace(name="node1", address="10.213.7.11", variables={}),
        SimpleNamespace(name="kernel1", address="10.213.7.231", variables={"ansible_timeout": 60}),
    ]
    text = inventory.render(nodes, LabPaths.of("/a"), {"lab_channel": "local"})
    everything = yaml.safe_load(text)["all"]
    assert everything["hosts"] == {
        "node1": {"ansible_host": "10.213.7.11"},
        "kernel1": {"ansible_host": "10.213.7.231", "ansible_timeout": 60},
    }
    assert everything["children"]["serving"]["hosts"] == {"node1": {}, "kernel1": {}}
    assert everything["vars"]["lab_channel"] == "local"
    assert everything["vars"]["ansible_user"] == "ops"
    assert "-o StrictHostKeyChecking=yes" in everything["vars"]["ansible_ssh_common_args"]


@pytest.mark.parametrize(
    ("recipe", "authorities"), [(["mmdebstrap", "more"], []), (["mmdebstrap"], [("/ca.crt", "ab")])]
)
def test_a_base_tree_is_named_after_all_that_shapes_it(recipe, authorities):
    assert base.digest_of(recipe, authorities) != base.digest_of(["mmdebstrap"], [])


MMDEBSTRAP = """#!/bin/sh
for argument; do case $argument in */tree) mkdir "$argument" ;; esac; done
exit $MMDEBSTRAP_STATUS
"""


@pytest.fixture
def bases(tmp_path, monkeypatch):
    """An empty folder for base trees, and a stand-in for what makes one."""
    program = tmp_path / "bin" / "mmdebstrap"
    textfile.put(program, MMDEBSTRAP, 0o755, os.getuid())
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(base, "BASES", tmp_path / "base")
    monkeypatch.setattr(inherit, "apt_texts", lambda release: ("sources", "conf"))
    return tmp_path / "base"


def test_a_build_that_fails_leaves_nothing_that_counts(bases, monkeypatch):
    monkeypatch.setenv("MMDEBSTRAP_STATUS", "1")
    with pytest.raises(LabError, match="status 1"):
        base.ensure("trixie", print)
    assert not base.tree("trixie").exists()
    monkeypatch.setenv("MMDEBSTRAP_STATUS", "0")
    built = base.ensure("trixie", print)
    assert sorted(path.name for path in bases.iterdir()) == [built.name, "trixie.lock"]


def test_a_base_tree_that_is_there_is_not_built_again(bases, monkeypatch):
    monkeypatch.setenv("MMDEBSTRAP_STATUS", "0")
    base.ensure("trixie", print)
    monkeypatch.setenv("MMDEBSTRAP_STATUS", "1")
    said = []
    assert base.ensure("trixie", said.append) == base.tree("trixie")
    assert said == []
