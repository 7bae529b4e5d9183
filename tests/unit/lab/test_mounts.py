"""What is unmounted and removed is of a lab, and never the machine's own."""

from __future__ import annotations

import pytest

from lab import mounts
from lab.errors import LabError


@pytest.mark.parametrize("folder", ["/", "/proc", "/var/..", "/home/"])
def test_the_machines_own_is_neither_unmounted_nor_removed(monkeypatch, folder):
    ran = []
    monkeypatch.setattr(mounts, "run", ran.append)
    for remove in (mounts.release, mounts.remove_tree):
        with pytest.raises(LabError, match="is no folder of a lab"):
            remove(folder)
    assert ran == []


def test_a_folder_of_a_lab_is(monkeypatch):
    ran = []
    monkeypatch.setattr(mounts, "run", lambda argv, **_options: ran.append(argv[0]))
    monkeypatch.setattr(mounts, "below", lambda _folder: ["/var/lib/lab/nodes/node1/root"])
    mounts.remove_tree("/var/lib/lab")
    assert ran == ["umount", "rm"]
