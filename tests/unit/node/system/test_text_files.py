"""Small files are as they are to be, or they are written, and a secret one is never shown."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import folders, text_files


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "etc" / "made" / "a.conf")


@pytest.mark.parametrize("text", ["text\n", None])
def test_what_a_killed_run_had_not_put_in_place_goes(path, text):
    text_files.put(path, text_files.of("before\n"))
    left = os.path.join(os.path.dirname(path), ".gpunode-abc123")
    with open(left, "w", encoding="utf-8") as handle:
        handle.write("password")
    text_files.put(path, text_files.of(text))
    assert not os.path.exists(left)


def test_a_file_that_is_as_wanted_is_left_alone(path):
    wanted = {path: text_files.of("text\n")}
    assert text_files.stale(wanted) == [path]
    text_files.put(path, wanted[path])
    assert text_files.stale(wanted) == []
    before = os.stat(path).st_ino
    text_files.put(path, wanted[path])
    assert os.stat(path).st_ino == before


@pytest.mark.parametrize("damage", ["text", "mode", "owner", "link"])
def test_a_file_that_differs_is_written_anew(path, damage):
    file = text_files.of("text\n", mode=0o640)
    text_files.put(path, file)
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
    assert text_files.stale({path: file}) == [path]
    text_files.put(path, file)
    assert text_files.stale({path: file}) == []
    assert not os.path.islink(path)


def test_what_was_seen_tells_what_differs_without_a_second_look(path):
    file = text_files.of("text\n", mode=0o640)
    wanted, nothing = {path: file}, {path: text_files.of(None)}
    for seen, stale, gone in (
        (text_files.NOTHING, [path], []),
        (text_files.OnDisk("text\n", 0o640), [], [path]),
        (text_files.OnDisk("text\n", 0o644), [path], [path]),
        (text_files.OnDisk("text\n", 0o640, is_own=False), [path], [path]),
        (text_files.OnDisk(is_own=False), [path], [path]),
    ):
        assert text_files.stale(wanted, {path: seen}) == stale
        assert text_files.stale(nothing, {path: seen}) == gone
    assert text_files.diff(path, file, text_files.OnDisk("old\n"))["before"] == "old\n"
    assert not os.path.exists(path)


def test_what_is_at_a_path_is_seen(path):
    assert text_files.look([path]) == {path: text_files.NOTHING}
    text_files.put(path, text_files.of("text\n", mode=0o640))
    link = f"{path}.link"
    os.symlink(path, link)
    assert text_files.look([path, link]) == {
        path: text_files.OnDisk("text\n", 0o640),
        link: text_files.OnDisk("text\n", 0o640, is_own=False),
    }
    os.unlink(path)
    assert text_files.look([link]) == {link: text_files.OnDisk(is_own=False)}


def test_nothing_is_wanted_and_nothing_is_left_not_even_the_folder_that_was_made(path):
    nothing = text_files.of(None)
    assert text_files.stale({path: nothing}) == []
    text_files.put(path, text_files.of("text\n"))
    assert text_files.stale({path: nothing}) == [path]
    text_files.put(path, nothing)
    assert text_files.stale({path: nothing}) == []
    assert not os.path.exists(os.path.dirname(path))


def test_a_folder_of_others_stays_when_it_gets_empty(tmp_path):
    path = str(tmp_path / "a.conf")
    assert not folders.is_ours(str(tmp_path))
    text_files.put(path, text_files.of("text\n"))
    text_files.put(path, text_files.of(None))
    assert tmp_path.exists()


def test_a_difference_is_shown_and_a_secret_one_only_said(path):
    text_files.put(path, text_files.of("old\n"))
    shown = text_files.diff(path, text_files.of("new\n"))
    assert (shown["before"], shown["after"]) == ("old\n", "new\n")
    hidden = text_files.diff(path, text_files.of("new\n", is_secret=True))
    assert "old" not in str(hidden)
    assert "new" not in str(hidden)
    assert hidden["after"] != ""


def test_what_was_there_can_be_put_back(path):
    nothing = text_files.found(path)
    text_files.put(path, text_files.of("old\n", mode=0o640))
    old = text_files.found(path)
    text_files.put(path, text_files.of("new\n"))
    text_files.put(path, old)
    assert text_files.stale({path: text_files.of("old\n", mode=0o640)}) == []
    text_files.put(path, nothing)
    assert not os.path.exists(path)


def test_the_sentence_says_what_is_done():
    assert text_files.sentence("/a", text_files.of("x")) == "write /a"
    assert text_files.sentence("/a", text_files.of(None)) == "remove /a"


@pytest.mark.skipif(os.getuid() != 0, reason="the file is to be root's")
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting_and_gives_way(tmp_path):
    path = str(tmp_path / "a.conf")
    os.mkfifo(path)
    wanted = {path: text_files.of("text\n")}
    assert text_files.stale(wanted) == [path]
    text_files.put_all(wanted)
    assert (tmp_path / "a.conf").read_text() == "text\n"
    assert text_files.stale(wanted) == []


def test_a_folder_in_the_place_of_a_file_is_refused_by_its_path(tmp_path):
    with pytest.raises(Refusal, match="it is a folder, and a file is to lie there"):
        text_files.look([str(tmp_path)])
