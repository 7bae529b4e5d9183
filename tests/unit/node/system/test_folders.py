"""Folders that we made are told from those that were there."""

from __future__ import annotations

import os
import shutil

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
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


def turned(tmp_path):
    """Return (a user's folder with links to another one, that one)."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (elsewhere / "empty").mkdir(parents=True)
    home.mkdir()
    for name, target in (("near", elsewhere), ("nowhere", elsewhere / "new"), ("back", "..")):
        (home / name).symlink_to(target)
        os.lchown(home / name, 65534, 65534)
    os.chown(home, 65534, 65534)
    return home, elsewhere


@pytest.mark.parametrize(
    "below", ["near/new", "near/a/b", "nowhere/a", "near/empty/a", "back/elsewhere/a"]
)
def test_no_folder_is_made_where_a_link_of_a_user_leads(tmp_path, below):
    home, elsewhere = turned(tmp_path)
    with pytest.raises((Refusal, FileExistsError)) as caught:
        folders.make(f"{home}/{below}")
    assert f"{home}" in str(caught.value)
    assert os.listdir(elsewhere) == ["empty"]
    assert os.listdir(elsewhere / "empty") == []


def test_a_folder_that_a_user_exchanges_for_a_link_meanwhile_leads_nowhere(tmp_path, monkeypatch):
    home, elsewhere = turned(tmp_path)
    mkdir = os.mkdir

    def exchanged(path, *arguments, **options):
        if os.path.basename(path) == "b":
            os.rename(home / "a", home / "gone")
            os.symlink(elsewhere, home / "a")
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", exchanged)
    folders.make(f"{home}/a/b")
    assert os.listdir(elsewhere) == ["empty"]
    assert os.listdir(home / "gone") == ["b"]


def test_no_empty_folder_goes_to_which_a_link_of_a_user_leads(tmp_path):
    home, elsewhere = turned(tmp_path)
    folders.remove_if_empty(f"{home}/near/empty")
    assert os.listdir(elsewhere) == ["empty"]


def test_a_folder_goes_however_deep_somebody_made_it(tmp_path, deepened):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    deep = tmp_path / "deep"
    deepened(deep)
    deepened(deep / "d" / "beside", 1200)
    (deep / "d" / "link").symlink_to(tmp_path / "kept")
    (deep / "file").touch()
    folders.remove(str(deep))
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_a_folder_goes_that_is_deeper_than_files_may_be_open(tmp_path, monkeypatch, deepened):
    def opens_too_many(path):
        raise OSError(24, "Too many open files", path)

    monkeypatch.setattr(shutil, "rmtree", opens_too_many)
    folders.remove(deepened(tmp_path / "deep", 10))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_go_says_which(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folders.remove(str(tmp_path / "nowhere"))


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
