"""Files of ours are regular ones: what has no end, or nobody at its other end, is not read."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files


@pytest.mark.parametrize("read", [files.opened, files.data, files.sha256_of_file])
def test_what_is_no_regular_file_is_not_read(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OSError, match="it is no regular file"):
            read(path)


def test_a_text_that_is_too_long_is_not_read_to_its_end(tmp_path):
    with open(tmp_path / "long", "wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 16 MiB"):
        files.read_text(tmp_path / "long")


def test_a_file_that_nobody_else_is_to_read_is_what_comes_of_saying_nothing(tmp_path):
    before = os.umask(0)
    try:
        files.write_text(str(tmp_path / "note"), "x", owner=None, group=None)
    finally:
        os.umask(before)
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o600


def test_a_tree_is_read_however_deep_it_is_and_what_is_no_path_is_told(tmp_path, deepened):
    assert len(files.sha256_of_tree(deepened(tmp_path / "a", 1500))) == 64
    with pytest.raises(OSError, match="File name too long"):
        files.sha256_of_tree(deepened(tmp_path / "b", 3000))


def test_a_tree_is_walked_folder_by_folder_in_the_order_of_names(tmp_path):
    for name in ("b/x/1", "b/2", "a/y", "c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "d").symlink_to("b")
    found = [relative for _path, relative in files.walk(tmp_path, ["y"])]
    assert found == ["a", "b", "c", "d", "b/2", "b/x", "b/x/1"]
