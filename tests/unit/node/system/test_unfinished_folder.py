"""What is half-built is known to be ours, and only that is removed."""

import getpass
import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import unfinished_folder

pytestmark = pytest.mark.skipif(
    getpass.getuser() != "root", reason="notes belong to root; run as root"
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


def begin(path, state, error=None):
    with unfinished_folder.building(str(path), str(state)):
        path.mkdir()
        (path / "half").write_text("")
        if error:
            raise error


def test_a_build_that_ends_well_is_no_longer_marked(tmp_path):
    begin(tmp_path / "p", tmp_path / "state")
    assert (tmp_path / "p" / "half").exists()
    assert not unfinished_folder.is_unfinished(str(tmp_path / "p"), str(tmp_path / "state"))


def test_a_build_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="wrong"):
        begin(tmp_path / "p", tmp_path / "state", ValueError("wrong"))
    assert not (tmp_path / "p").exists()
    assert not unfinished_folder.is_unfinished(str(tmp_path / "p"), str(tmp_path / "state"))


def test_a_killed_build_stays_marked_and_the_next_one_starts_clean(tmp_path):
    with pytest.raises(Killed):
        begin(tmp_path / "p", tmp_path / "state", Killed())
    assert unfinished_folder.is_unfinished(str(tmp_path / "p"), str(tmp_path / "state"))
    with unfinished_folder.building(str(tmp_path / "p"), str(tmp_path / "state")):
        assert not (tmp_path / "p").exists()


def test_somebody_elses_folder_is_not_marked(tmp_path):
    (tmp_path / "p").mkdir()
    assert not unfinished_folder.is_unfinished(str(tmp_path / "p"), str(tmp_path / "state"))


def test_no_link_of_a_user_leads_a_removal_elsewhere(tmp_path):
    elsewhere, state = tmp_path / "elsewhere", str(tmp_path / "state")
    (elsewhere / "prefix").mkdir(parents=True)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    (home / "mine").symlink_to(elsewhere)
    with pytest.raises(Refusal, match="is a link that others than root could turn"):
        unfinished_folder.remove(str(home / "mine" / "prefix"), state)
    assert (elsewhere / "prefix").exists()


def test_a_build_goes_however_deep_it_became(tmp_path, deepened):
    deepened(tmp_path / "prefix")
    unfinished_folder.remove(str(tmp_path / "prefix"), str(tmp_path / "state"))
    assert os.listdir(tmp_path) == ["state"]
