"""General facts of a host."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils import host


@pytest.mark.parametrize("name", ["data", "with blank", "back\\slash", "日本", "é"])
def test_a_mount_point_may_be_called_anything(tmp_path, name):
    place = tmp_path / name
    place.mkdir()
    escaped = str(place).replace("\\", "\\134").replace(" ", "\\040")
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "mounts").write_text(f"/dev/sdb1 {escaped} ext4 rw 0 0\n", encoding="utf-8")
    (row,) = host.mounts(str(tmp_path / "proc"))
    assert (row["mount"], row["fstype"]) == (str(place), "ext4")
