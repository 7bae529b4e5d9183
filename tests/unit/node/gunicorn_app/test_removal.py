"""What is removed of an application, and what is not."""

from __future__ import annotations

import os
import socket

import pytest
from web_app import Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    actions,
    candidate,
    remains,
    removal,
    rollback,
    service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.steps import run
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    folders,
    in_use,
    own_paths,
    systemd,
)

OURS = f"{service.OURS}; changes made here are replaced.\n"
SERVICE = "[Service]\nUser={user}\nWorkingDirectory={dir}/releases/0123456789ab\n"
RUNNING = {"ActiveState": "active"}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Empty folders for all that an application has, and what is to go."""
    for module, name in (
        (systemd, "UNIT_DIR"), (service, "SECRETS_DIR"), (candidate, "UNIT_DIR"),
        (own_paths, "RUN_DIR"), (own_paths, "STATE_DIR"),
    ):  # fmt: skip
        folder = tmp_path / f"{module.__name__.rpartition('.')[2]}-{name}"
        folder.mkdir()
        monkeypatch.setattr(module, name, str(folder))
    monkeypatch.setattr(in_use, "by_units", lambda folders, besides: {})
    return {"name": "web", "user": "no-such-user", "dir": str(tmp_path / "web")}


def place(path, text=""):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)


def placed(item, listen="0.0.0.0:9001"):
    """Set an application up."""
    place(f"{item['dir']}/releases/{'a' * 12}/main.py")
    place(f"{item['dir']}/releases/{service.TEMPORARY}new-x/main.py")
    os.symlink("a", service.link_of(item))
    place(service.secrets_path("web"))
    place(rollback.note_of("web"))
    place(candidate.secrets_path("web"))
    place(candidate.unit_path("web"), OURS)
    texts = {
        "web.socket": f"[Socket]\nListenStream={listen}\n",
        "web.service": SERVICE.format(**item),
    }
    for unit, text in texts.items():
        place(service.unit_path(unit), OURS + text)
        place(f"{service.unit_path(unit)}.d/ours.conf", OURS)
        place(f"{systemd.UNIT_DIR}/multi-user.target.wants/{unit}")


def planned(item, manager=None, wanted_users=()):
    ask = (manager or Systemd()).run
    return removal.steps([item], remains.observe([item], ask), wanted_users, ask)


def obstacles(item):
    return removal.obstacles([item], remains.observe([item], Systemd().run))


def sentences(item, **units):
    return [step.sentence for step in planned(item, Systemd(**units))]


def test_where_nothing_is_left_nothing_is_done(host):
    assert sentences(host) == []
    assert obstacles(host) == []
    assert len(remains.entries([host])) == 3


def test_all_there_is_of_an_application_goes(host, tmp_path):
    before = sorted(map(str, tmp_path.rglob("*")))
    placed(host)
    manager = Systemd(**{"web_socket": RUNNING, "web_service": RUNNING})
    steps = planned(host, manager)
    run(steps)
    said = [step.sentence for step in steps]
    assert said[:2] == ["stop web.socket", "stop web.service"]
    assert f"remove {service.unit_path('web.service')}" in said
    assert "reload systemd" in said
    assert manager.told[:3] == ["stop web.socket", "stop web.service", "daemon-reload"]
    left = sorted(map(str, tmp_path.rglob("*")))
    # The folders of secrets go with the last secret.
    assert set(left) < set(before)
    assert sentences(host) == []


def test_what_lies_among_an_applications_things_and_is_not_ours_stays(host):
    placed(host)
    precious = f"{host['dir']}/releases/precious/notes"
    drop_in = f"{service.unit_path('web.service')}.d/admin.conf"
    place(precious)
    place(drop_in, "[Service]\n")
    run(planned(host))
    assert os.path.exists(precious)
    assert os.path.exists(drop_in)
    assert os.listdir(host["dir"]) == ["releases"]
    assert sentences(host) == []
    assert len(remains.entries([host])) == 2


def test_a_unix_socket_goes_and_what_lies_beside_it_stays(host, tmp_path):
    path = str(tmp_path / "run" / "web.sock")
    place(f"{tmp_path}/run/other.sock")
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind(path)
    placed(host, listen=path)
    steps = planned(host)
    assert f"remove {path}" in [step.sentence for step in steps]
    run(steps)
    assert os.listdir(tmp_path / "run") == ["other.sock"]


def test_the_folder_that_systemd_made_for_a_socket_goes_with_it(monkeypatch):
    removed = []
    monkeypatch.setattr(actions.folders, "remove_if_empty", removed.append)
    actions.remove_socket("/run/gpunode-none/web.sock")
    actions.remove_socket("/srv/gpunode-none/web.sock")
    assert removed == ["/run/gpunode-none"]


def test_the_folders_made_on_the_way_to_an_application_go_when_they_are_empty(host, tmp_path):
    deep = {**host, "dir": str(tmp_path / "made" / "two" / "web")}
    beside = str(tmp_path / "made" / "precious")
    folders.make(service.releases_in(deep["dir"]))
    if not folders.is_ours(tmp_path / "made"):
        pytest.skip("this file system has no extended attributes")
    place(beside)
    run(planned(deep))
    assert os.listdir(tmp_path / "made") == ["precious"]
    os.unlink(beside)
    run(planned(deep))
    assert not (tmp_path / "made").exists()
    assert tmp_path.exists()


def test_a_folder_that_was_there_before_an_application_stays(host, tmp_path):
    deep = {**host, "dir": str(tmp_path / "theirs" / "web")}
    (tmp_path / "theirs").mkdir()
    folders.make(service.releases_in(deep["dir"]))
    run(planned(deep))
    assert os.listdir(tmp_path / "theirs") == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"dir": "/home/ob/web"}, "dir: /home/ob/web"),
        ({"user": "ob"}, "user: ob"),
        ({"user": "ob", "dir": "/home/ob/web"}, "user: ob and dir: /home/ob/web"),
    ],
)
def test_an_application_that_was_set_up_otherwise_is_refused_with_what_to_write(host, other, said):
    placed(host)
    assert obstacles(host) == []
    place(service.unit_path("web.service"), OURS + SERVICE.format(**{**host, **other}))
    (refusal,) = obstacles(host)
    assert refusal.because.startswith(f"it was set up with {said}, not with ")
    assert refusal.remedy == f"Write {said} in its item of gunicorn_app_list"


def test_a_unit_of_that_name_that_we_did_not_write_is_refused(host):
    place(service.unit_path("web.service"), "[Service]\n")
    (refusal,) = obstacles(host)
    assert "was not written by gpunode" in refusal.because


def test_a_release_that_something_else_uses_is_refused_with_its_user(host, monkeypatch):
    placed(host)
    who = {f"{host['dir']}/releases/{'a' * 12}": "process sleep (pid 7)"}
    monkeypatch.setattr(in_use, "by_units", lambda folders, besides: who)
    (refusal,) = obstacles(host)
    assert refusal.because.startswith("process sleep (pid 7) uses ")


def test_a_distributions_unit_of_that_name_is_not_stopped(host):
    theirs = {"ActiveState": "active", "FragmentPath": "/lib/systemd/system/web.service"}
    assert sentences(host, web_service=theirs) == []


@pytest.mark.parametrize(
    ("comment", "unit_of_another", "wanted", "goes"),
    [
        ("gpunode", False, (), True),
        ("Web master", False, (), False),
        ("gpunode", True, (), False),
        ("gpunode", False, ("nobody",), False),
    ],
)
def test_a_user_goes_where_we_made_it_and_nothing_else_runs_as_it(
    host, monkeypatch, comment, unit_of_another, wanted, goes
):
    account = type("Account", (), {"pw_gecos": comment, "pw_uid": 2**31})
    monkeypatch.setattr(remains.pwd, "getpwnam", lambda name: account)
    monkeypatch.setattr(in_use, "user_by_units", lambda user, besides: unit_of_another)
    item = {**host, "user": "nobody"}
    steps = planned(item, wanted_users=wanted)
    assert [step.sentence for step in steps] == (["remove user nobody"] if goes else [])


def test_folders_of_data_go_where_they_were_made_for_it_and_are_empty(host, tmp_path):
    placed(host)
    made, full, found = (tmp_path / "data" / name for name in ("made", "full", "found"))
    for path in (made, full):
        folders.make(str(path))
    found.mkdir()
    (full / "web.sqlite3").touch()
    unit = service.unit_path("web.service")
    with open(unit, "a", encoding="utf-8") as handle:
        handle.write(f"BindPaths={made} {full} {found}\n")
    run(planned(host))
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["found", "full"]
    assert planned(host) == []


@pytest.mark.parametrize(
    ("made", "kept", "left"),
    [
        (["data/made/deep/rows", "data/made/deep/files"], [], []),
        (["data/made/deep/rows", "data/made/files"], ["data/made/deep/rows/a.db"], ["deep"]),
        (["data/made/rows"], ["data/made/others"], ["others"]),
        (["data/made"], [], []),
    ],
)
def test_folders_made_on_the_way_to_data_go_with_it(host, tmp_path, made, kept, left):
    placed(host)
    (tmp_path / "data").mkdir()
    paths = [str(tmp_path / path) for path in made]
    for path in paths:
        folders.make(path)
    if not folders.is_ours(paths[0]):
        pytest.skip("this file system has no extended attributes")
    for path in kept:
        place(str(tmp_path / path))
    with open(service.unit_path("web.service"), "a", encoding="utf-8") as handle:
        handle.write(f"BindPaths={' '.join(paths)}\n")
    run(planned(host))
    top = tmp_path / "data" / "made"
    assert (sorted(os.listdir(top)) if top.exists() else []) == left
    assert (tmp_path / "data").exists()
    assert planned(host) == []


@pytest.mark.parametrize(("kept", "left"), [([], []), (["data/rows.db"], ["data"])])
def test_folders_of_data_beside_the_releases_go_with_the_folder_of_both(host, kept, left):
    placed(host)
    made = [os.path.join(host["dir"], name) for name in ("data", "data/deep")]
    for path in made:
        folders.make(path)
    for path in kept:
        place(os.path.join(host["dir"], path))
    with open(service.unit_path("web.service"), "a", encoding="utf-8") as handle:
        handle.write(f"BindPaths={' '.join(made)}\n")
    run(planned(host))
    assert os.path.exists(host["dir"]) is bool(left)
    assert not left or os.listdir(host["dir"]) == left
    assert not os.path.exists(made[1])
    assert planned(host) == []
