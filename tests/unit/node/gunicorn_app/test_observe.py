"""What a host has of an application."""

from __future__ import annotations

import os
import socket

import pytest
from web_app import APP, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import builds
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    actions,
    observe,
    process,
    service,
    surroundings,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release as app_release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    drop_ins,
    files,
    own_paths,
)

PACKAGE = {
    "name": "python", "version": "3.11.7", "build": "0", "md5": "0" * 32, "url": "x",
}  # fmt: skip


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An application whose release is in place."""
    release = tmp_path / "releases" / ("a" * 12)
    release.mkdir(parents=True)
    (release / "main.py").write_text("app = 1\n")
    monkeypatch.setattr(files, "ownership", lambda path: ("root", "root", "0755"))
    return {**APP, "release": str(release), "digest": app_release.digest_of(release)}


def seen(app, **options):
    return observe.observe(app, {}, [], run=Systemd().run, **options)


def test_a_release_is_known_by_its_digest_and_a_named_one_by_as_much_as_its_id(app):
    assert seen(app).releases.state == "intact"
    named = {**app, "digest": app_release.id_of(app["digest"])}
    assert seen(named).releases.state == "intact"
    assert seen({**app, "digest": "0" * 12}).releases.state == "changed"
    assert seen({**app, "release": "/no/such"}).releases.state == "absent"


def test_a_release_in_which_a_file_is_anothers_is_a_changed_one(app):
    os.chmod(os.path.join(app["release"], "main.py"), 0o666)
    assert seen(app).releases.state == "changed"


@pytest.fixture
def changed_by(tmp_path, monkeypatch):
    """Return a function that writes a drop-in of a unit, None for none."""
    monkeypatch.setattr(drop_ins, "PLACES", [str(tmp_path / "system")])
    monkeypatch.setattr(own_paths, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(process, "process", lambda *_arguments: {})
    monkeypatch.setattr(process, "reasons_to_restart", lambda *_arguments: "")
    monkeypatch.setattr(observe, "_listens", lambda *_arguments: True)

    def write(unit, text):
        path = tmp_path / "system" / f"{unit}.d" / "x.conf"
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"[Service]\n{text}\n")
        return path

    return write


def test_a_drop_in_that_came_changed_or_went_asks_for_a_restart_and_listening_goes_on(
    app, changed_by
):
    path = changed_by("web.service", "User=root")
    assert seen(app).restart == f"it was not started under {path} (User=root)"
    surroundings.note(app, seen(app).drop_ins)
    assert (seen(app).restart, seen(app).listens) == ("", True)
    changed_by("web.service", "User=nobody")
    assert seen(app).restart == f"it was not started under {path} (User=nobody)"
    surroundings.note(app, seen(app).drop_ins)
    changed_by("web.service", None)
    assert seen(app).restart == f"it was started under {path}, which is gone"
    assert seen(app).listens


def test_what_was_set_while_it_ran_asks_for_no_restart_and_is_noted(app, changed_by, monkeypatch):
    path = changed_by("web.service", "MemoryMax=1G")
    monkeypatch.setattr(drop_ins, "_AT_ONCE", drop_ins.PLACES)
    assert seen(app).restart == ""
    assert list(seen(app).drop_ins["web.service"]) == [str(path)]
    surroundings.note(app, seen(app).drop_ins)
    changed_by("web.service", None)
    assert seen(app).restart == ""


def test_a_drop_in_of_the_socket_has_the_address_opened_anew(app, changed_by):
    changed_by("web.socket", "SocketMode=0600")
    assert not seen(app).listens
    surroundings.note(app, seen(app).drop_ins)
    assert (seen(app).restart, seen(app).listens) == ("", True)


def test_what_is_noted_is_for_root_alone_and_written_once(app, changed_by):
    changed_by("web.service", "User=root")
    path = surroundings.note_of(app["name"])
    surroundings.note(app, seen(app).drop_ins)
    before = os.stat(path)
    surroundings.note(app, seen(app).drop_ins)
    assert (os.stat(path).st_ino, before.st_mode & 0o777) == (before.st_ino, 0o600)


def test_once_nothing_changes_the_units_no_note_is_left(app, changed_by, tmp_path):
    changed_by("web.service", "User=root")
    surroundings.note(app, seen(app).drop_ins)
    changed_by("web.service", None)
    surroundings.note(app, seen(app).drop_ins)
    assert os.listdir(tmp_path / "state") == []


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"web.service": 7}', '{"web.service": null}'])
def test_a_note_that_cannot_be_read_is_none(app, changed_by, tmp_path, noted):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "web.drop-ins").write_text(noted)
    assert seen(app).restart == ""


def test_releases_are_in_the_order_in_which_they_were_in_service(app):
    folder = os.path.dirname(app["release"])
    for name, moment in (("b" * 12, 3000), ("c" * 12, 1000)):
        os.mkdir(os.path.join(folder, name))
        os.utime(os.path.join(folder, name), (moment, moment))
    os.utime(app["release"], (2000, 2000))
    names = [os.path.basename(path)[0] for path in observe.releases_on_disk(folder)]
    assert names == ["b", "a", "c"]
    assert observe.releases_on_disk("/no/such") == []


def test_what_never_was_in_service_is_not_among_those_that_served(app):
    folder, moments = os.path.dirname(app["release"]), {"b": 3000, "c": 1000, "d": observe.NEVER}
    for name, moment in moments.items():
        os.mkdir(os.path.join(folder, name * 12))
        os.utime(os.path.join(folder, name * 12), (moment, moment))
    os.mkdir(os.path.join(folder, f"{service.TEMPORARY}new-x"))
    os.utime(app["release"], (observe.NEVER, observe.NEVER))
    app = {**app, "dir": os.path.dirname(folder)}
    assert [os.path.basename(path)[0] for path in observe.served(app)] == ["b", "c"]
    # What the link names is in service, whenever it came.
    os.symlink(os.path.join(folder, "c" * 12), service.link_of(app))
    assert [os.path.basename(path)[0] for path in observe.served(app)] == ["c", "b"]
    assert seen(app).releases.served == observe.served(app)


def built(folder, lock):
    """Return the prefix of an environment that holds nothing, recorded as built from ``lock``."""
    prefix = folder / builds.folder_of("env", builds.id_of(lock, []))
    prefix.mkdir()
    builds.record({"prefix": str(prefix), "lock": lock, "dists": []})
    return str(prefix)


def test_an_environment_is_damaged_when_it_is_not_what_it_was_built_from(tmp_path):
    assert not observe.is_damaged(built(tmp_path, []))
    assert observe.is_damaged(built(tmp_path, [PACKAGE]))
    assert not observe.is_damaged("/no/such")


def test_check_mode_foresees_the_repair_of_a_damaged_environment(app, tmp_path):
    damaged = {**app, "prefix": built(tmp_path, [PACKAGE])}
    assert seen(damaged, check_mode=True).repaired
    assert not seen(damaged).repaired


def bound(path):
    """Leave a unix socket at a path, as somebody does who ends without removing it."""
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind(str(path))


def test_what_took_the_place_of_an_earlier_socket_is_left_alone(app, tmp_path, monkeypatch):
    monkeypatch.setattr(service.systemd, "UNIT_DIR", str(tmp_path))
    monkeypatch.setattr(files, "ownership", lambda path: ("root", "root", "0644"))
    (tmp_path / "web.socket").write_text(f"[Socket]\nListenStream={tmp_path}/old\n")
    (tmp_path / "old").write_text("precious")
    assert seen({**app, "listen": str(tmp_path / "new")}).socket_left == ""
    actions.remove_socket(str(tmp_path / "old"))
    assert (tmp_path / "old").read_text() == "precious"


@pytest.mark.parametrize(
    ("listens", "exists", "left"),
    [("old", True, True), ("old", False, False), ("new", True, False)],
)
def test_the_unix_socket_of_an_earlier_address_is_left(
    app, tmp_path, monkeypatch, listens, exists, left
):
    monkeypatch.setattr(service.systemd, "UNIT_DIR", str(tmp_path))
    monkeypatch.setattr(files, "ownership", lambda path: ("root", "root", "0644"))
    path = tmp_path / listens
    (tmp_path / "web.socket").write_text(f"[Socket]\nListenStream={path}\n")
    if exists:
        bound(path)
    found = seen({**app, "listen": str(tmp_path / "new")}).socket_left
    assert found == (str(path) if left else "")


@pytest.mark.parametrize("make", [lambda path: path.write_text("data"), lambda path: path.mkdir()])
def test_only_a_socket_may_lie_where_its_socket_is_to_be(app, tmp_path, make):
    place = tmp_path / "web.sock"
    listening = {**app, "listen": str(place)}
    assert not seen(listening).is_taken
    make(place)
    assert seen(listening).is_taken
