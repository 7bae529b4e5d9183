"""Folders that an application reads or writes besides its own."""

from __future__ import annotations

import errno
import os
import pwd

import pytest
from web_app import APP

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import data
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

ME = pwd.getpwuid(os.geteuid()).pw_name
SOMEBODY = "nobody"


def app(user=ME, **changes):
    return {**APP, "user": user, **{key: list(map(str, paths)) for key, paths in changes.items()}}


def told(asked):
    return [str(refusal) for refusal in data.obstacles(asked)]


def test_only_what_is_not_there_is_made(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    paths = [tmp_path / name for name in ("there", "link", "new")]
    assert data.lacking(app(writable=paths)) == [str(tmp_path / "new")]


def test_a_folder_is_made_for_its_user_alone(tmp_path):
    path = tmp_path / "above" / "data"
    data.make(app(), str(path))
    status = path.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (os.geteuid(), 0o700)
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o755
    assert data.obstacles(app(writable=[path])) == []


def test_a_folder_that_is_made_is_given_to_its_user(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "fchown", lambda _descriptor, *ids: given.append(ids))
    data.make(app(SOMEBODY), str(tmp_path / "above" / "data"))
    account = pwd.getpwnam(SOMEBODY)
    assert given == [(account.pw_uid, account.pw_gid)]


def test_a_folder_is_made_through_no_link_that_others_could_turn(tmp_path, monkeypatch):
    (tmp_path / "victim").mkdir()
    (tmp_path / "theirs").symlink_to("victim")
    stat = os.stat

    def of_somebody(path, *arguments, **options):
        found = stat(path, *arguments, **options)
        return os.stat_result((*found[:4], 12345, *found[5:])) if path == "theirs" else found

    monkeypatch.setattr(os, "stat", of_somebody)
    with pytest.raises(Refusal, match="a link that others than root could turn"):
        data.make(app(), str(tmp_path / "theirs" / "data"))
    assert os.listdir(tmp_path / "victim") == []


def test_what_is_to_be_read_is_to_be_there(tmp_path):
    (tmp_path / "model.bin").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    said = told(app(readable=[tmp_path / name for name in ("model.bin", "gone", "broken")]))
    for line, name in zip(said, ("gone", "broken"), strict=True):
        assert f"readable {tmp_path}/{name} of application web: it is not there" in line


def test_what_is_to_be_written_is_a_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    said = told(app(writable=[tmp_path / "file", tmp_path / "broken", tmp_path / "new"]))
    assert ["it is not a folder" in line for line in said] == [True, True]


@pytest.mark.parametrize(
    ("mode", "may"), [(0o755, False), (0o700, False), (0o757, True), (0o752, False)]
)
def test_a_folder_of_somebody_else_is_writable_as_its_mode_says(tmp_path, mode, may):
    tmp_path.chmod(mode)
    said = told(app(SOMEBODY, writable=[tmp_path]))
    assert (said == []) is may
    if said:
        assert f"user {SOMEBODY} may not write there: it is {ME}'s" in said[0]
        assert f"chown {SOMEBODY} {tmp_path}" in said[0]


@pytest.mark.parametrize(("mode", "may"), [(0o300, True), (0o200, False), (0o577, False)])
def test_a_folder_of_the_user_is_writable_as_its_mode_says(tmp_path, mode, may):
    tmp_path.chmod(mode)
    assert (told(app(writable=[tmp_path])) == []) is may
    tmp_path.chmod(0o700)


def test_a_group_that_a_user_is_in_may_let_it_write(tmp_path, monkeypatch):
    tmp_path.chmod(0o770)
    assert told(app(SOMEBODY, writable=[tmp_path]))
    own = tmp_path.stat().st_gid
    monkeypatch.setattr(os, "getgrouplist", lambda *_asked: [own])
    assert told(app(SOMEBODY, writable=[tmp_path])) == []


def test_a_user_that_is_about_to_be_made_owns_nothing_yet(tmp_path):
    assert told(app("no-such-user", writable=[tmp_path]))
    tmp_path.chmod(0o777)
    assert told(app("no-such-user", writable=[tmp_path])) == []


def test_an_access_control_list_is_left_to_decide(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "listxattr", lambda _path: ["system.posix_acl_access"])
    assert told(app(SOMEBODY, writable=[tmp_path])) == []


def test_a_file_system_without_such_lists_has_none(tmp_path, monkeypatch):
    def unsupported(path):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)

    monkeypatch.setattr(os, "listxattr", unsupported)
    assert "may not write there" in told(app(SOMEBODY, writable=[tmp_path]))[0]
