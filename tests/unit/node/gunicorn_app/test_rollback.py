"""The way back: what served serves again, and its socket was open all the time."""

from __future__ import annotations

import errno
import stat

import pytest
from web_app import APP, PYTHON, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    rollback,
    service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    files,
    own_paths,
    systemd,
)

SERVING = {"ActiveState": "active", "UnitFileState": "enabled"}
NOT_THERE = {"ActiveState": "inactive", "UnitFileState": ""}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host on which the application serves."""
    monkeypatch.setattr(systemd, "UNIT_DIR", str(tmp_path))
    monkeypatch.setattr(service, "SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setattr(own_paths, "STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "secrets").mkdir()
    for name in ("web.socket", "web.service", "secrets/web.env"):
        (tmp_path / name).write_text("before")
    return Systemd(web_socket=dict(SERVING), web_service=dict(SERVING))


def test_a_socket_that_did_not_change_is_never_stopped(host, tmp_path):
    before = rollback.Before(APP, host.run)
    (tmp_path / "web.service").write_text("after")
    (tmp_path / "secrets/web.env").unlink()
    (tmp_path / "secrets").rmdir()
    said = before.bring_back()
    assert said == "What was in service before is in service again"
    assert (
        (tmp_path / "web.service").read_text()
        == (tmp_path / "secrets/web.env").read_text()
        == "before"
    )
    assert not [told for told in host.told if told.startswith(("stop", "disable"))]
    assert host.told.index("daemon-reload") < host.told.index("restart web.service")


@pytest.mark.parametrize("damage", ["another text", "closed"])
def test_a_socket_that_does_not_listen_as_before_is_opened_again(host, tmp_path, damage):
    before = rollback.Before(APP, host.run)
    if damage == "another text":
        (tmp_path / "web.socket").write_text("after")
    else:
        host.units["web.socket"]["ActiveState"] = "failed"
    before.bring_back()
    stop, start, restart = (
        host.told.index(told)
        for told in ("stop web.socket web.service", "start web.socket", "restart web.service")
    )
    assert stop < start < restart
    assert (tmp_path / "web.socket").read_text() == "before"


def test_units_that_were_not_there_are_gone_again(host, tmp_path):
    for name in ("web.socket", "web.service", "secrets/web.env"):
        (tmp_path / name).unlink()
    host.units = {"web.socket": dict(NOT_THERE), "web.service": dict(NOT_THERE)}
    before = rollback.Before(APP, host.run)
    for name in ("web.socket", "web.service", "secrets/web.env"):
        (tmp_path / name).write_text("after")
    host.units = {"web.socket": dict(SERVING), "web.service": dict(SERVING)}
    assert before.bring_back() == "Its units are gone again"
    assert list(tmp_path.iterdir()) == []
    assert host.told[0] == "stop web.socket web.service"
    assert {"disable web.socket", "disable web.service"} < set(host.told)
    assert not [told for told in host.told if told.startswith(("start", "restart"))]


@pytest.mark.parametrize("state", ["activating", "reloading"])
def test_a_service_that_was_about_to_serve_again_is_started_again(host, state):
    host.units["web.service"]["ActiveState"] = state
    before = rollback.Before(PYTHON, host.run)
    host.units["web.service"]["ActiveState"] = "failed"
    assert before.bring_back() == "What was in service before is in service again"
    assert "restart web.service" in host.told


def test_units_that_did_not_serve_are_said_to_be_as_they_were(host, tmp_path):
    host.units = {
        name: {"ActiveState": "inactive", "UnitFileState": "enabled"} for name in host.units
    }
    before = rollback.Before(APP, host.run)
    (tmp_path / "web.service").write_text("after")
    assert before.bring_back() == "Its units are as they were before"
    assert (tmp_path / "web.service").read_text() == "before"
    assert not [told for told in host.told if told.startswith(("start", "restart"))]


def test_a_way_back_that_fails_is_told(host):
    before = rollback.Before(APP, host.run)
    host.refuses = ("restart web.service",)
    assert "could not be brought back (systemctl restart web.service: no)" in before.bring_back()


def test_what_did_not_change_is_not_written_again(host, tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = rollback.Before(APP, host.run)
    monkeypatch.setattr(files, "replacing", full)
    assert before.bring_back() == "What was in service before is in service again"


def test_what_a_killed_run_noted_is_what_the_next_one_brings_back(host, tmp_path):
    (tmp_path / "secrets/web.env").write_bytes(b"TOKEN=\xff\n")
    rollback.Before(APP, host.run).note()
    note = tmp_path / "state" / "web.before"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    (tmp_path / "web.service").write_text("after")
    (tmp_path / "secrets/web.env").unlink()
    host.units["web.service"]["ActiveState"] = "failed"

    before = rollback.Before(APP, host.run)
    assert before.is_noted
    before.note()
    assert before.bring_back() == "What was in service before is in service again"
    assert (tmp_path / "web.service").read_text() == "before"
    assert (tmp_path / "secrets/web.env").read_bytes() == b"TOKEN=\xff\n"
    assert "restart web.service" in host.told
    assert not note.exists()


def test_a_note_stays_where_the_way_back_fails_and_goes_with_the_proof(host, tmp_path):
    before = rollback.Before(APP, host.run)
    before.note()
    host.refuses = ("restart web.service",)
    before.bring_back()
    assert rollback.Before(APP, host.run).is_noted
    before.forget()
    assert not rollback.Before(APP, host.run).is_noted
    assert list((tmp_path / "state").iterdir()) == []
