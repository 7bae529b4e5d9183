"""A candidate is started, proven and gone again, whatever comes of it."""

from __future__ import annotations

import os
import stat

import pytest
from web_app import APP, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import candidate
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    proof as app_proof,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import drop_ins, own_paths

UNIT = "web-candidate.service"
WITH_SECRETS = {**APP, "secrets_digest": "s1"}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Folders for units and secrets, and a systemd that runs the candidate once it is started."""
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(candidate, "UNIT_DIR", str(tmp_path / "units"))
    monkeypatch.setattr(own_paths, "RUN_DIR", str(tmp_path / "run"))
    systemd = Systemd()
    systemd.units[UNIT] = {"ActiveState": "inactive"}
    return systemd


@pytest.fixture
def proof(host, tmp_path, monkeypatch):
    """What the proof finds while the candidate is in place; a test may have it fail."""
    found = {"complaint": ""}

    def prove(_app, unit, listen, _run, _sleep):
        host.units[UNIT] = {"ActiveState": "active"}
        secrets = tmp_path / "run" / "web-candidate.env"
        found["unit"] = unit, listen, (tmp_path / "units" / unit).read_text()
        if secrets.exists():
            found["secrets"] = secrets.read_text(), stat.S_IMODE(secrets.stat().st_mode)
        if found["complaint"]:
            raise app_proof.NotServing(found["complaint"])

    monkeypatch.setattr(app_proof, "prove", prove)
    return found


@pytest.fixture
def changes(tmp_path_factory, monkeypatch):
    """What changes the service besides its file: a folder of its own, and one of all services."""
    folder = tmp_path_factory.mktemp("system")
    monkeypatch.setattr(drop_ins, "PLACES", [str(folder)])
    for place, text in (("web.service.d", "MemoryMax=9M"), ("service.d", "Nice=5")):
        (folder / place).mkdir()
        (folder / place / f"{place}.conf").write_text(f"[Service]\n{text}\n")
    return folder


def test_a_candidate_is_changed_as_the_service_is_and_leaves_nothing(
    host, proof, changes, tmp_path, monkeypatch
):
    found = []

    def prove(*_arguments):
        folder = tmp_path / "units" / f"{UNIT}.d"
        found.extend((path.name, path.read_text()) for path in folder.iterdir())
        assert candidate.is_left("web", host.run)

    monkeypatch.setattr(app_proof, "prove", prove)
    candidate.try_out(APP, APP["candidate"], {}, lambda: "All is well", host.run)
    # What is of all services is of the candidate too, as it is.
    assert found == [("web.service.d.conf", "[Service]\nMemoryMax=9M\n")]
    assert nothing_left(tmp_path)


def test_what_changes_its_units_is_told_of_a_candidate_that_fails(host, proof, changes):
    proof["complaint"] = "it dies"
    with pytest.raises(Refusal) as refused:
        candidate.try_out(APP, APP["candidate"], {}, lambda: "All is well", host.run)
    assert refused.value.because == (
        f"it dies: its units are changed by {changes}/service.d/service.d.conf (Nice=5), "
        f"{changes}/web.service.d/web.service.d.conf (MemoryMax=9M)"
    )
    assert "Correct the application, or remove what changes its units, and run" in str(
        refused.value
    )


def nothing_left(tmp_path):
    return os.listdir(tmp_path) == ["units"] and os.listdir(tmp_path / "units") == []


def test_a_candidate_is_proven_on_its_own_socket_and_leaves_nothing(host, proof, tmp_path):
    candidate.try_out(
        WITH_SECRETS, APP["candidate"], {"TOKEN": "abc"}, lambda: "All is well", host.run
    )
    assert proof["unit"] == (UNIT, "/run/web-candidate/http.sock", APP["candidate"])
    assert proof["secrets"] == ('GPUNODE_SECRETS="s1"\nTOKEN="abc"\n', 0o600)
    assert host.told == [
        "daemon-reload", f"start --no-block {UNIT}",
        f"stop {UNIT}", "daemon-reload", f"reset-failed {UNIT}",
    ]  # fmt: skip
    assert nothing_left(tmp_path)


def test_a_candidate_that_fails_is_told_without_secrets_and_leaves_nothing(host, proof, tmp_path):
    proof["complaint"], host.log = "it dies", "node python[7]: ValueError: abc"
    with pytest.raises(Refusal) as refused:
        candidate.try_out(
            WITH_SECRETS, APP["candidate"], {"TOKEN": "abc"}, lambda: "All is well", host.run
        )
    said = str(refused.value)
    assert "it dies: ValueError: ********. All is well" in said
    assert "abc" not in said
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("told", [f"start --no-block {UNIT}", f"stop {UNIT}"])
def test_a_systemd_that_does_not_as_told_is_a_refusal(host, proof, told):
    host.refuses = (told,)
    with pytest.raises(Refusal, match=told):
        candidate.try_out(APP, APP["candidate"], {}, str, host.run)


def test_what_cannot_be_removed_of_a_candidate_is_told(host, tmp_path):
    (tmp_path / "units" / f"{UNIT}.d").write_text("no folder")
    with pytest.raises(OSError, match=r"web-candidate\.service\.d"):
        candidate.remove("web", host.run)


def test_what_is_left_of_a_candidate_is_seen_and_removed(host, tmp_path):
    assert not candidate.is_left("web", host.run)
    host.units[UNIT] = {"ActiveState": "failed"}
    assert candidate.is_left("web", host.run)
    host.units[UNIT] = {"ActiveState": "inactive"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "web-candidate.env").touch()
    assert candidate.is_left("web", host.run)
    candidate.remove("web", host.run)
    assert not candidate.is_left("web", host.run)
    assert nothing_left(tmp_path)
