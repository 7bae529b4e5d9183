"""Folders that we made are told from those that were there."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils import folders


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
