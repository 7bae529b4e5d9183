"""Two runs at once: one works, the other waits, and then names who it waited for."""

import errno
import multiprocessing
import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import node_lock


def hold(path, pipe):
    with node_lock.held("build environments", path):
        pipe.send("held")
        pipe.poll(20)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock at the yielded path."""
    context = multiprocessing.get_context("fork")
    path, (ours, theirs) = str(tmp_path / "lock"), context.Pipe()
    process = context.Process(target=hold, args=(path, theirs))
    process.start()
    assert ours.poll(20)
    yield path, process
    process.kill()
    process.join(20)


def test_the_second_run_names_the_first(holder):
    path, process = holder
    named = pytest.raises(Refusal, match=rf"build environments \(pid {process.pid}")
    with named, node_lock.held("serve applications", path, wait_s=0.3):
        pass


def test_a_killed_holder_leaves_no_lock(holder):
    path, process = holder
    process.kill()
    process.join(20)
    with node_lock.held("serve applications", path, wait_s=5):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_lock_that_has_no_room_for_its_holders_name_is_held_all_the_same(
    tmp_path, monkeypatch, number
):
    def full(*_asked):
        raise OSError(number, os.strerror(number))

    path = str(tmp_path / "lock")
    with monkeypatch.context() as patched:
        patched.setattr(node_lock.os, "write", full)
        refused = pytest.raises(Refusal, match="another process")
        with node_lock.held("first", path), refused, node_lock.held("x", path, wait_s=0):
            pass
    with node_lock.held("second", path, wait_s=0):
        pass


def test_the_lock_is_for_root_alone_and_names_nobody_who_is_gone(tmp_path):
    path = tmp_path / "lock"
    with node_lock.held("test", str(path)):
        assert path.stat().st_mode & 0o777 == 0o600
        assert "test" in path.read_text()
    assert path.read_text() == ""


def test_the_lock_lies_where_only_root_makes_files():
    assert os.path.dirname(node_lock.LOCK_PATH) == "/run"


def test_a_lock_that_others_could_open_is_closed_to_them_once_it_is_taken(tmp_path):
    path = tmp_path / "lock"
    path.touch(0o666)
    path.chmod(0o666)
    with node_lock.held("test", str(path)):
        assert path.stat().st_mode & 0o777 == 0o600


def _link(path):
    path.symlink_to("precious")


def _other_name(path):
    os.link(path.parent / "precious", path)


def _anothers(path):
    path.touch()
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (_link, "symbolic links"),
        (_other_name, "another name"),
        (os.mkfifo, "no regular file"),
        (os.mkdir, "[Ii]s a directory"),
        pytest.param(
            _anothers,
            "belongs to",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"),
        ),
    ],
)
def test_what_lies_in_the_place_of_the_lock_is_refused_and_stays(tmp_path, made, words):
    (tmp_path / "precious").write_text("precious")
    path = tmp_path / "lock"
    made(path)
    refused = pytest.raises(Refusal, match=rf"x: .*{path}.*{words}.* Remove it")
    with refused, node_lock.held("x", str(path)):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_where_no_file_can_be_made_the_lock_is_refused_with_its_path(tmp_path):
    with pytest.raises(Refusal, match="No such file"), node_lock.held("x", f"{tmp_path}/no/lock"):
        pass
