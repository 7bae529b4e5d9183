"""An application's folder below one of a user, who puts links where ours are to be."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from web_app import APP

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    actions,
    observe,
    removal,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release as app_release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import folders, safe_paths

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives links away")

USER = 65534
WORDS = "a link that others than root could turn"


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An application whose folder is a user's, and whose releases that user leads elsewhere."""
    monkeypatch.setattr(actions.accounts, "group_of", lambda _user: "nogroup")
    home, elsewhere = tmp_path / "home" / "web", tmp_path / "elsewhere"
    home.mkdir(parents=True)
    os.chown(home, USER, USER)
    (elsewhere / ("0" * 12)).mkdir(parents=True)
    elsewhere.chmod(0o700)
    (home / "releases").symlink_to(elsewhere)
    os.chown(home / "releases", USER, USER, follow_symlinks=False)
    return {**APP, "dir": str(home), "release": f"{home}/releases/{'a' * 12}"}


def elsewhere_of(app):
    folder = os.path.realpath(f"{app['dir']}/releases")
    status = os.stat(folder)
    return os.listdir(folder), stat.S_IMODE(status.st_mode), status.st_gid


def test_no_folder_is_given_away_through_a_link(app):
    before = elsewhere_of(app)
    with pytest.raises(Refusal, match=WORDS):
        actions.make_releases(app)
    assert elsewhere_of(app) == before


def test_nothing_is_placed_or_removed_through_a_link(app, tmp_path):
    before = elsewhere_of(app)
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("")
    app_release.pack(source, tmp_path / "a.tar.gz")
    app["digest"] = app_release.digest_of(source)
    with pytest.raises(Refusal, match=WORDS):
        actions.place_release(app, {app["digest"]: str(tmp_path / "a.tar.gz")})
    with pytest.raises(Refusal, match=WORDS):
        actions.remove(f"{app['dir']}/releases/{'0' * 12}")
    assert elsewhere_of(app) == before


def test_no_socket_link_or_folder_is_removed_through_a_link(app, tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "empty").mkdir(parents=True)
    (theirs / "current").symlink_to("x")
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind(str(theirs / "http.sock"))
    away = os.path.join(app["dir"], "away")
    os.symlink(theirs, away)
    os.chown(away, USER, USER, follow_symlinks=False)
    for remove, name in (
        (actions.remove_socket, "http.sock"),
        (removal._unlink, "current"),
        (safe_paths.rmdir, "empty"),
    ):
        with pytest.raises(Refusal, match=WORDS):
            remove(os.path.join(away, name))
    assert len(os.listdir(theirs)) == 3


def test_what_lies_behind_a_link_is_none_of_its_releases(app):
    assert observe.releases_on_disk(f"{app['dir']}/releases") == []


def test_a_folder_that_a_user_made_becomes_roots(app):
    os.unlink(f"{app['dir']}/releases")
    os.mkdir(f"{app['dir']}/releases", 0o777)
    os.chown(f"{app['dir']}/releases", USER, USER)
    actions.make_releases(app)
    status = os.stat(f"{app['dir']}/releases")
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o750)


def test_a_folder_that_we_made_and_that_was_given_away_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.setattr(actions.accounts, "group_of", lambda _user: "nogroup")
    place = f"{tmp_path}/srv/web"
    app = {**APP, "dir": place, "release": f"{place}/releases/{'a' * 12}"}
    actions.make_releases(app)
    if not folders.is_ours(app["dir"]):
        pytest.skip("this file system has no extended attributes")
    assert not folders.is_given_away(app["dir"])
    for spoil in (lambda path: os.chown(path, USER, USER), lambda path: os.chmod(path, 0o777)):
        spoil(app["dir"])
        assert folders.is_given_away(app["dir"])
        actions.make_releases(app)
        status = os.stat(app["dir"])
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755)


def test_a_folder_of_a_user_stays_that_users(app):
    os.unlink(f"{app['dir']}/releases")
    actions.make_releases(app)
    assert os.stat(app["dir"]).st_uid == USER
    assert not folders.is_given_away(app["dir"])


def test_a_release_that_a_user_made_deep_goes_as_well(tmp_path, deepened):
    path = deepened(tmp_path / ("0" * 12))
    actions.remove(path)
    assert not os.path.lexists(path)
