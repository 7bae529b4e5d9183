"""Room on file systems: counted where it is needed, and told from other failures."""

from __future__ import annotations

import errno
import shutil

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import disk, files


def mount(path, gib):
    return {
        "mount": path,
        "fstype": "ext4",
        "size_total": 10 * disk.GIB,
        "size_available": int(gib * disk.GIB),
    }


@pytest.mark.parametrize(
    ("path", "holder"),
    [("/opt/x", "/"), ("/var/lib/x", "/var"), ("/variety", "/"), ("/var", "/var")],
)
def test_a_path_lies_on_the_nearest_mount_above_it(path, holder):
    assert disk.mount_of(path, [mount("/", 1), mount("/var", 1)])["mount"] == holder


def test_a_later_mount_covers_an_earlier_one_at_the_same_place():
    assert disk.mount_of("/a", [mount("/", 1), mount("/", 2)])["size_available"] == 2 * disk.GIB


def test_needs_on_one_file_system_add_up():
    needs = [("a", "/opt/a", disk.GIB), ("b", "/opt/b", disk.GIB)]
    assert disk.refusals(needs, [mount("/", 2)]) == []
    (refusal,) = disk.refusals(needs, [mount("/", 1.5)])
    assert str(refusal).startswith("a, b: / has 1.5 GiB free, 2.0 GiB is needed")


def test_needs_on_two_file_systems_are_counted_apart():
    needs = [("a", "/opt/a", disk.GIB), ("b", "/var/b", disk.GIB)]
    assert disk.refusals(needs, [mount("/", 1), mount("/var", 1)]) == []


def test_an_unknown_file_system_refuses_nothing():
    assert disk.refusals([("a", "/opt/a", disk.GIB)], []) == []


def test_a_write_that_finds_no_room_is_told_by_its_file(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    path = tmp_path / "unit"
    with pytest.raises(Refusal, match=f"the file system of {path} is full"), disk.watched("x", "/"):
        files.write_text(str(path), "text", owner=None, group=None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_can_only_be_read_is_told_by_its_file():
    with (
        pytest.raises(Refusal, match="the file system of /var/lib/x can only be read"),
        disk.watched("work", "/opt"),
    ):
        raise OSError(errno.EROFS, "Read-only file system", "/var/lib/x")


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("tar: x: Cannot write: No space left on device", True),
        ("Failed to write to /opt/x.partial\n  errno: 28", True),
        ("Connection refused", False),
    ],
)
def test_a_full_disk_is_told_by_what_commands_say(text, full):
    assert disk.is_full(text) is full


def test_only_a_full_disk_becomes_a_refusal():
    with pytest.raises(Refusal, match="file system of /opt is full"), disk.watched("work", "/opt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    # As copytree does, which goes on after the first file.
    words = "[Errno 28] No space left on device: 'a' -> 'b'"
    with pytest.raises(Refusal, match="file system of /opt is full"), disk.watched("work", "/opt"):
        raise shutil.Error([("a", "b", words)])
    with pytest.raises(PermissionError), disk.watched("work", "/opt"):
        raise PermissionError(errno.EACCES, "no")
