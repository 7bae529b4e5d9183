"""A vGPU is licensed as it was asked for, proven, or it is said why not; tokens are never shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from trees import planted
from web_app import Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import general
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import root, systemd
from ansible_collections.gpunode.stack.plugins.module_utils._node.vgpu_license import (
    converge as vgpu_license,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    vgpu_license as resolver,
)

UNIT = "nvidia-gridd.service"
NAME = "client_configuration_token_04-02-2026-19-11-16.tok"
SECRET = "eyJhbGciOiJSUzI1NiJ9.eyJzZXJ2ZXIiOiJ4In0.c2lnbmF0dXJl\n"
VERSION = "535.161.08"
GONE = {"state": "absent"}
FILES = {
    "/proc/modules": "nvidia 1 0 - Live 0x0 (OE)\n",
    "/proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {VERSION}\n",
    f"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{VERSION}": "",
}


class Guest(Systemd):
    """A guest whose daemon gets a licence at its start, if the server gives one."""

    def __init__(self, folder, gives=lambda guest: True, **state):
        super().__init__()
        self.units[UNIT] = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "UnitFileState": "enabled",
            "MainPID": "0",
            **state,
        }
        planted(folder, FILES)
        self.tree = root.Root(str(folder), self.run)
        self.licensed = False
        self.slept = 0
        self.smi = None
        self.cuda = {"call": "", "status": 0, "says": "1"}
        self._gives = gives
        self.own_kernel = True
        self.asked_gpus = 0

    def run(self, argv, **options):
        if argv[0] == "nvidia-smi":
            self.asked_gpus += 1
            status = "Licensed (Expiry: N/A)" if self.licensed else "Unlicensed (Unrestricted)"
            answer = (
                f"<?xml version='1.0'?><nvidia_smi_log><gpu id='00000000:3B:00.0'>"
                "<vgpu_software_licensed_product>"
                f"<license_status>{status}</license_status>"
                "</vgpu_software_licensed_product></gpu></nvidia_smi_log>"
            )
            text = answer if self.smi is None else self.smi
            return subprocess.CompletedProcess(argv, 0, text.encode(), b"")
        if argv[0] == sys.executable:
            return subprocess.CompletedProcess(argv, 0, json.dumps(self.cuda), "")
        done = super().run(argv, **options)
        if argv[0] == "systemctl" and argv[1] in ("start", "restart"):
            self.units[UNIT]["ActiveState"] = "active"
            self.licensed = self._gives(self)
        elif argv[0] == "systemctl" and argv[1] == "stop":
            self.units[UNIT]["ActiveState"] = "inactive"
            self.licensed = False
        return done

    def sleep(self, seconds):
        self.slept += seconds

    def converge(self, state, token=None, check_mode=False):
        host = bring.Node(self.tree, None, None, self.run)
        asked = {"wanted": state, "token": token}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(general, "own_kernel", lambda: self.own_kernel)
            return vgpu_license.converge(host, asked, check_mode, self.sleep)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gridd, "CONFIGURATION", str(tmp_path / "nvidia" / "gridd.conf"))
    monkeypatch.setattr(gridd, "TOKENS", str(tmp_path / "nvidia" / "ClientConfigToken"))
    return tmp_path / "nvidia"


def resolved(tmp_path, **options):
    (tmp_path / NAME).write_text(SECRET)
    variables = {f"vgpu_license_{key}": value for key, value in options.items()}
    site = wanted_state.Site(variables, tmp_path)
    return resolver.resolve(site.options("vgpu_license"), site)


def by_token(tmp_path, **options):
    return resolved(tmp_path, token=NAME, wait_s=0, **options)


def by_server(tmp_path, **options):
    return resolved(tmp_path, server="10.5.8.208", wait_s=0, **options)


# What is asked for


def test_a_legacy_server_is_configured_with_its_port_and_its_backup(tmp_path):
    state = by_server(tmp_path, backup_server="lic2.example", backup_port=7071, feature_type=4)
    assert state["configuration"].splitlines()[1:] == [
        "ServerAddress=10.5.8.208",
        "ServerPort=7070",
        "BackupServerAddress=lic2.example",
        "BackupServerPort=7071",
        "FeatureType=4",
    ]
    assert state["token"] is None


def test_a_token_is_told_by_its_name_and_digest_alone(tmp_path):
    state = by_token(tmp_path)
    assert state["configuration"].splitlines()[1:] == ["FeatureType=1"]
    assert state["token"]["name"] == NAME
    assert SECRET.strip() not in json.dumps(state)
    (tmp_path / NAME).write_text(SECRET)
    before = state["token"]["sha256"]
    other = SECRET.replace("c2ln", "b3Ro")
    (tmp_path / "other.tok").write_text(other)
    assert resolved(tmp_path, token="other.tok")["token"]["sha256"] != before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"token": NAME, "server": "10.5.8.208"}, "Say one of them"),
        ({"token": "missing.tok"}, "cannot be read"),
        ({"token": "token.txt"}, "ends in .tok"),
        ({"token": "empty.tok"}, "not the form"),
        ({"backup_server": "lic2"}, "there is no vgpu_license_server"),
        ({"server": "http://lic:7070"}, "neither the name of a host nor an address"),
        ({"server": "lic\nFeatureType=2"}, "neither the name of a host nor an address"),
        ({"server": "lic", "port": 70000}, "vgpu_license_port 70000"),
        ({"server": "lic", "backup_server": "b", "backup_port": 0}, "vgpu_license_backup_port 0"),
        ({"server": "lic", "feature_type": 3}, "vgpu_license_feature_type"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, options, says):
    (tmp_path / "token.txt").write_text(SECRET)
    (tmp_path / "empty.tok").write_text("\n")
    with pytest.raises(Refusal, match=says):
        resolved(tmp_path, **options)


@pytest.mark.parametrize("server", ["lic", "lic-1.example", "10.5.8.208", "fd00::1", "::1"])
def test_names_and_addresses_of_both_kinds_are_servers(tmp_path, server):
    assert f"ServerAddress={server}\n" in resolved(tmp_path, server=server)["configuration"]


def test_a_licence_is_wanted_where_its_source_is_said(tmp_path):
    def site(**variables):
        return wanted_state.Site(variables, tmp_path)

    assert not resolver.is_wanted(site())
    assert resolver.is_wanted(site(vgpu_license_server="lic"))
    assert resolver.is_wanted(site(vgpu_license_token="a.tok"))
    assert resolver.is_wanted(site(vgpu_license_state="absent"))


def test_where_nothing_is_said_nothing_is_wanted(tmp_path):
    state = resolved(tmp_path)
    assert state == {"state": "unsaid"}
    assert resolver.present(state) == resolver.absent(state) == []


def test_the_sides_of_a_component_agree(tmp_path):
    state = by_token(tmp_path)
    gone = resolved(tmp_path, state="absent")
    assert resolver.present(state) == resolver.absent(gone) == ["licence"]
    assert resolver.absent(state) == resolver.present(gone) == []
    assert resolver.probe(state)["units"] == [UNIT]
    assert resolver.refusals(state, {}) == []
    assert NAME in resolver.summary(state)[0]["says"]
    assert resolver.summary(gone) == [{"says": "no vGPU licence"}]


# What comes of it


def test_a_licence_with_which_nothing_computes_is_none(tmp_path):
    guest = Guest(tmp_path)
    guest.cuda = {"call": "cuMemAlloc_v2", "status": 102, "says": "CUDA_ERROR_DEVICE_NOT_LICENSED"}
    with pytest.raises(Refusal, match="cuMemAlloc_v2 says CUDA_ERROR_DEVICE_NOT_LICENSED"):
        guest.converge(by_token(tmp_path), SECRET)


def test_a_token_is_placed_as_its_vendor_says_and_the_licence_is_had(tmp_path, folder):
    guest = Guest(tmp_path)
    result = guest.converge(by_token(tmp_path), SECRET)
    token = folder / "ClientConfigToken" / NAME
    assert result.changes == [
        f"write {token}",
        f"write {folder / 'gridd.conf'}",
        f"restart {UNIT}",
    ]
    assert token.read_text() == SECRET
    assert token.stat().st_mode & 0o777 == 0o744
    assert token.parent.stat().st_mode & 0o777 == 0o755
    assert guest.licensed


def test_what_is_as_wanted_is_left_alone(tmp_path):
    guest = Guest(tmp_path)
    guest.converge(by_token(tmp_path), SECRET)
    guest.told.clear()
    again = guest.converge(by_token(tmp_path), SECRET)
    assert (again.changes, guest.told) == ([], [])


def test_the_gpus_are_asked_before_and_for_the_proof(tmp_path):
    guest = Guest(tmp_path)
    for _run in ("fresh", "at rest"):
        guest.asked_gpus = 0
        guest.converge(by_token(tmp_path), SECRET)
        assert guest.asked_gpus == 2
    guest.asked_gpus = 0
    guest.converge(by_token(tmp_path), SECRET, check_mode=True)
    guest.converge(GONE)
    assert guest.asked_gpus == 1


def test_check_mode_says_what_the_run_does_and_does_nothing(tmp_path, folder):
    guest = Guest(tmp_path, ActiveState="inactive", UnitFileState="disabled")
    said = guest.converge(by_token(tmp_path), SECRET, check_mode=True)
    assert not folder.exists()
    assert guest.told == []
    assert said.changes == guest.converge(by_token(tmp_path), SECRET).changes
    assert f"enable {UNIT}" in said.changes


def test_nothing_that_is_returned_has_the_token(tmp_path):
    guest = Guest(tmp_path)
    result = guest.converge(by_token(tmp_path), SECRET)
    other = guest.converge(by_token(tmp_path), SECRET.replace("c2ln", "b3Ro"))
    none = guest.converge(by_server(tmp_path))
    assert [len(one.diff) for one in (result, other, none)] == [2, 1, 2]
    for part in SECRET.strip().split("."):
        assert part not in repr([result, other, none])


def test_a_daemon_that_runs_with_an_older_configuration_is_restarted(tmp_path, folder):
    guest = Guest(tmp_path, MainPID=str(os.getpid()))
    state = by_server(tmp_path)
    guest.converge(state)
    guest.told.clear()
    # This process is older than the file, as the daemon is where a run was killed before it
    # restarted it.
    assert guest.converge(state).changes == [f"restart {UNIT}"]
    os.utime(folder / "gridd.conf", (0, 0))
    assert guest.converge(state).changes == []


def test_a_daemon_without_a_licence_is_restarted(tmp_path):
    guest = Guest(tmp_path)
    guest.converge(by_server(tmp_path))
    guest.licensed = False
    assert guest.converge(by_server(tmp_path)).changes == [f"restart {UNIT}"]
    assert guest.licensed


def test_the_token_of_before_goes_and_leaves_its_trace_for_a_run_that_is_killed(tmp_path, folder):
    guest = Guest(tmp_path)
    guest.converge(by_token(tmp_path), SECRET)
    old = folder / "ClientConfigToken" / "a.tok"
    old.write_text("of before")
    os.utime(folder / "gridd.conf", (0, 0))
    result = guest.converge(by_token(tmp_path), SECRET)
    assert result.changes == [f"remove {old}", f"restart {UNIT}"]
    assert not old.exists()
    assert (folder / "gridd.conf").stat().st_mtime > 0


def test_a_legacy_server_leaves_no_token_that_would_go_before_it(tmp_path, folder):
    guest = Guest(tmp_path)
    guest.converge(by_token(tmp_path), SECRET)
    guest.converge(by_server(tmp_path))
    assert not (folder / "ClientConfigToken").exists()


@pytest.mark.parametrize("case", ["no kernel of its own", "not loaded", "waits for a reboot"])
def test_where_the_driver_does_not_run_files_and_unit_are_all(tmp_path, case):
    guest = Guest(tmp_path, UnitFileState="disabled", ActiveState="inactive")
    if case == "not loaded":
        (tmp_path / "proc/driver/nvidia/version").unlink()
        (tmp_path / "proc/modules").write_text("")
    elif case == "waits for a reboot":
        (tmp_path / f"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{VERSION}").rename(
            tmp_path / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.90.07"
        )
    guest.own_kernel = case != "no kernel of its own"
    result = guest.converge(by_server(tmp_path))
    assert guest.told == [f"enable {UNIT}"]
    assert [entry["kind"] for entry in result.manifest] == ["file"]


def test_the_manifest_keeps_the_daemon_running_with_these_files(tmp_path):
    result = Guest(tmp_path).converge(by_token(tmp_path), SECRET)
    kinds = [entry["kind"] for entry in result.manifest]
    assert kinds == ["file", "file", "unit", "fresh", "fresh"]


def test_a_driver_without_the_daemons_unit_is_refused_before_anything_is_written(tmp_path, folder):
    guest = Guest(tmp_path, LoadState="not-found", UnitFileState="")
    with pytest.raises(Refusal, match="no such unit"):
        guest.converge(by_server(tmp_path))
    assert not folder.exists()
    # In check mode the driver may be what the run installs before.
    assert f"enable {UNIT}" in guest.converge(by_server(tmp_path), check_mode=True).changes


def test_a_licence_that_takes_its_time_is_waited_for(tmp_path):
    guest = Guest(tmp_path, gives=lambda guest: False)

    def sleep(seconds):
        guest.slept += seconds
        guest.licensed = guest.slept > 5

    guest.sleep = sleep
    guest.converge({**by_server(tmp_path), "wait_s": 60})
    assert 5 < guest.slept < 10


def test_a_daemon_that_ended_is_not_waited_for(tmp_path):
    def gives(guest):
        guest.units[UNIT]["ActiveState"] = "failed"
        return False

    guest = Guest(tmp_path, gives=gives)
    with pytest.raises(Refusal):
        guest.converge({**by_server(tmp_path), "wait_s": 60})
    assert guest.slept == 0


def test_a_licence_that_does_not_come_is_refused_with_what_the_log_says(tmp_path):
    guest = Guest(tmp_path, gives=lambda guest: False)
    guest.log = (
        "Acquiring license. (Info: lic; Virtual Compute Server)\n"
        "Failed to acquire license from lic (Info: x - Error: No pool features found for : x)\n"
        "Valid GRID license not found.\n"
    )
    with pytest.raises(Refusal) as refused:
        guest.converge(by_server(tmp_path))
    assert refused.value.what == "a licence for 0000:3b:00.0"
    assert "no licence of this kind" in refused.value.because
    assert "No pool features found" in refused.value.because


def test_a_driver_that_does_not_answer_is_the_reason(tmp_path):
    guest = Guest(tmp_path)
    guest.smi = "Unable to determine the device handle"
    with pytest.raises(Refusal, match="Unable to determine the device handle"):
        guest.converge(by_server(tmp_path))


def test_what_was_licensed_is_in_service_again_where_the_new_source_gives_nothing(tmp_path, folder):
    guest = Guest(tmp_path, gives=lambda _guest: "10.5.8.208" in configured(folder))
    guest.converge(by_server(tmp_path))
    before = configured(folder)
    with pytest.raises(Refusal, match="in service again"):
        guest.converge(resolved(tmp_path, server="wrong.example", wait_s=0))
    assert configured(folder) == before
    assert guest.licensed


def test_a_configuration_that_never_served_stays_for_the_server_to_come(tmp_path, folder):
    guest = Guest(tmp_path, gives=lambda _guest: False)
    with pytest.raises(Refusal):
        guest.converge(by_server(tmp_path))
    assert "ServerAddress=10.5.8.208" in configured(folder)


def configured(folder):
    return (folder / "gridd.conf").read_text()


# And away


def test_what_we_wrote_goes_and_the_licence_is_given_back(tmp_path, folder):
    guest = Guest(tmp_path)
    guest.converge(by_token(tmp_path), SECRET)
    said = guest.converge(GONE, check_mode=True)
    guest.told.clear()
    result = guest.converge(GONE)
    assert result.changes == said.changes
    assert guest.told == [f"stop {UNIT}", f"start {UNIT}"]
    assert not folder.exists()
    assert SECRET.split(".")[1] not in repr(result)
    assert guest.converge(GONE).changes == []


def test_a_configuration_of_others_stays_with_its_tokens(tmp_path, folder):
    (folder / "ClientConfigToken").mkdir(parents=True)
    (folder / "ClientConfigToken" / NAME).write_text(SECRET)
    (folder / "gridd.conf").write_text("FeatureType=1\n")
    result = Guest(tmp_path).converge(GONE)
    assert result.changes == []
    assert (folder / "ClientConfigToken" / NAME).exists()


def test_a_daemon_that_does_not_restart_is_a_refusal(tmp_path):
    guest = Guest(tmp_path)
    guest.refuses = (f"restart {UNIT}",)
    with pytest.raises(Refusal, match=f"restart {UNIT}"):
        guest.converge(by_server(tmp_path))


def test_the_log_is_asked_for_since_the_restart(tmp_path, monkeypatch):
    guest, asked = Guest(tmp_path, gives=lambda guest: False), []
    monkeypatch.setattr(systemd, "journal_end", lambda run: f"after {guest.told}")
    monkeypatch.setattr(systemd, "journal", lambda *given: asked.append(given[:2]) or [])
    with pytest.raises(Refusal):
        guest.converge(by_server(tmp_path))
    assert asked == [(UNIT, "after []")]
    assert f"restart {UNIT}" in guest.told
