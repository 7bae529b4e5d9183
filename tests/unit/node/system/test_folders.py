"""Folders that we made are told from those that were there."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import folders


@pytest.fixture
def place(tmp_path):
    """A folder that was there before, on a file system that can mark folders."""
    try:
        os.setxattr(tmp_path, "user.test", b"")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    return tmp_path


def test_folders_that_were_lacking_are_ours_and_the_others_are_not(place):
    folders.make(f"{place}/a/b")
    assert [folders.is_ours(f"{place}{below}") for below in ("", "/a", "/a/b")] == [
        False, True, True,
    ]  # fmt: skip
    assert not folders.is_ours(f"{place}/nowhere")


def test_a_folder_that_is_made_is_open_to_all_whatever_the_mask_is(place):
    before = os.umask(0o077)
    try:
        folders.make(f"{place}/a/b")
    finally:
        os.umask(before)
    assert {os.stat(f"{place}{below}").st_mode & 0o777 for below in ("/a", "/a/b")} == {0o755}


def test_a_folder_that_was_there_is_made_neither_ours_nor_open(place):
    (place / "a").mkdir(mode=0o700)
    folders.make(f"{place}/a")
    assert not folders.is_ours(f"{place}/a")
    assert os.stat(place / "a").st_mode & 0o777 == 0o700


def test_only_what_is_empty_goes(place):
    folders.make(f"{place}/a/b")
    folders.remove_if_empty(f"{place}/a")
    folders.remove_if_empty(f"{place}/a/b")
    folders.remove_if_empty(f"{place}/nowhere")
    assert os.listdir(place / "a") == []


def filled(place, text):
    """Have a folder with one file in it take the place of another."""
    with folders.replacing(place) as new:
        os.mkdir(new)
        with open(os.path.join(new, "file"), "w", encoding="ascii") as handle:
            handle.write(text)


def test_a_folder_takes_the_place_of_another_and_one_alike_does_not(tmp_path):
    place = tmp_path / "place"
    filled(place, "one")
    before = place.stat().st_ino
    filled(place, "one")
    assert place.stat().st_ino == before
    (place / "more").touch()
    filled(place, "two")
    assert [path.name for path in place.iterdir()] == ["file"]
    assert (place / "file").read_text(encoding="ascii") == "two"
    assert list(tmp_path.iterdir()) == [place]


def test_what_cannot_be_made_whole_leaves_the_folder_that_is_there(tmp_path):
    place = tmp_path / "place"
    filled(place, "one")
    (tmp_path / "place.gpunode-new").mkdir()
    with pytest.raises(TypeError):
        filled(place, None)
    assert (place / "file").read_text(encoding="ascii") == "one"
    assert list(tmp_path.iterdir()) == [place]
