"""The way back: what served serves again, and its socket was open all the time."""

from __future__ import annotations

import pytest
from web_app import APP, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils import (
    app_fallback,
    app_service,
    systemd,
)

SERVING = {"ActiveState": "active", "UnitFileState": "enabled"}
NOT_THERE = {"ActiveState": "inactive", "UnitFileState": ""}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host on which the application serves."""
    monkeypatch.setattr(systemd, "UNIT_DIR", str(tmp_path))
    monkeypatch.setattr(app_service, "SECRETS_DIR", str(tmp_path))
    for name in ("web.socket", "web.service", "web.env"):
        (tmp_path / name).write_text("before")
    return Systemd(web_socket=dict(SERVING), web_service=dict(SERVING))


def test_a_socket_that_did_not_change_is_never_stopped(host, tmp_path):
    before = app_fallback.Before(APP, host.run)
    (tmp_path / "web.service").write_text("after")
    (tmp_path / "web.env").unlink()
    said = before.bring_back()
    assert said == "What was in service before is in service again"
    assert (tmp_path / "web.service").read_text() == (tmp_path / "web.env").read_text() == "before"
    assert not [told for told in host.told if told.startswith(("stop", "disable"))]
    assert host.told.index("daemon-reload") < host.told.index("restart web.service")


@pytest.mark.parametrize("damage", ["another text", "closed"])
def test_a_socket_that_does_not_listen_as_before_is_opened_again(host, tmp_path, damage):
    before = app_fallback.Before(APP, host.run)
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
    for name in ("web.socket", "web.service", "web.env"):
        (tmp_path / name).unlink()
    host.units = {"web.socket": dict(NOT_THERE), "web.service": dict(NOT_THERE)}
    before = app_fallback.Before(APP, host.run)
    for name in ("web.socket", "web.service", "web.env"):
        (tmp_path / name).write_text("after")
    host.units = {"web.socket": dict(SERVING), "web.service": dict(SERVING)}
    assert before.bring_back() == "Its units are gone again"
    assert list(tmp_path.iterdir()) == []
    assert host.told[0] == "stop web.socket web.service"
    assert {"disable web.socket", "disable web.service"} < set(host.told)
    assert not [told for told in host.told if told.startswith(("start", "restart"))]


def test_a_way_back_that_fails_is_told(host):
    before = app_fallback.Before(APP, host.run)
    host.refuses = ("restart web.service",)
    assert "could not be brought back (systemctl restart web.service: no)" in before.bring_back()
