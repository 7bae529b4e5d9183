"""Small files are as they are to be, or they are written, and a secret one is never shown."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils import folders, placed


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "etc" / "made" / "a.conf")


def test_a_file_that_is_as_wanted_is_left_alone(path):
    wanted = {path: placed.of("text\n")}
    assert placed.stale(wanted) == [path]
    placed.put(path, wanted[path])
    assert placed.stale(wanted) == []
    before = os.stat(path).st_ino
    placed.put(path, wanted[path])
    assert os.stat(path).st_ino == before


@pytest.mark.parametrize("damage", ["text", "mode", "owner", "link"])
def test_a_file_that_differs_is_written_anew(path, damage):
    file = placed.of("text\n", mode=0o640)
    placed.put(path, file)
    if damage == "text":
        with open(path, "a", encoding="utf-8") as handle:
            handle.write("more\n")
    elif damage == "mode":
        os.chmod(path, 0o644)
    elif damage == "owner":
        os.chown(path, 65534, -1)
    else:
        os.rename(path, f"{path}.old")
        os.symlink(f"{path}.old", path)
    assert placed.stale({path: file}) == [path]
    placed.put(path, file)
    assert placed.stale({path: file}) == []
    assert not os.path.islink(path)


def test_nothing_is_wanted_and_nothing_is_left_not_even_the_folder_that_was_made(path):
    nothing = placed.of(None)
    assert placed.stale({path: nothing}) == []
    placed.put(path, placed.of("text\n"))
    assert placed.stale({path: nothing}) == [path]
    placed.put(path, nothing)
    assert placed.stale({path: nothing}) == []
    assert not os.path.exists(os.path.dirname(path))


def test_a_folder_of_others_stays_when_it_gets_empty(tmp_path):
    path = str(tmp_path / "a.conf")
    assert not folders.is_ours(str(tmp_path))
    placed.put(path, placed.of("text\n"))
    placed.put(path, placed.of(None))
    assert tmp_path.exists()


def test_a_difference_is_shown_and_a_secret_one_only_said(path):
    placed.put(path, placed.of("old\n"))
    shown = placed.diff(path, placed.of("new\n"))
    assert (shown["before"], shown["after"]) == ("old\n", "new\n")
    hidden = placed.diff(path, placed.of("new\n", is_secret=True))
    assert "old" not in str(hidden)
    assert "new" not in str(hidden)
    assert hidden["after"] != ""


def test_what_was_there_can_be_put_back(path):
    nothing = placed.found(path)
    placed.put(path, placed.of("old\n", mode=0o640))
    old = placed.found(path)
    placed.put(path, placed.of("new\n"))
    placed.put(path, old)
    assert placed.stale({path: placed.of("old\n", mode=0o640)}) == []
    placed.put(path, nothing)
    assert not os.path.exists(path)


def test_the_sentence_says_what_is_done():
    assert placed.sentence("/a", placed.of("x")) == "write /a"
    assert placed.sentence("/a", placed.of(None)) == "remove /a"
