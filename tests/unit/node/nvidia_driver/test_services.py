"""The driver's daemons are enabled, and run where the driver that they belong to does."""

from __future__ import annotations

import pytest
from web_app import Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import services
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import systemd, text_files

PERSISTENCED = "nvidia-persistenced.service"
FABRIC_MANAGER = "nvidia-fabricmanager.service"
RUNS = {"ActiveState": "active", "UnitFileState": "enabled"}


@pytest.fixture(autouse=True)
def _unit_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(systemd, "UNIT_DIR", str(tmp_path))


def done(steps):
    """Do the steps, and return their sentences."""
    for _sentence, action in steps:
        action()
    return [sentence for sentence, _action in steps]


def host_of(**states):
    host = Systemd()
    host.units = {f"{name.replace('_', '-')}.service": state for name, state in states.items()}
    return host


def removal_steps(host):
    left = text_files.stale(services.wanted_files(persistence=False, own_unit=False))
    return services.removal_steps(services.states(host.run), left, host.run)


def test_a_runfile_gets_a_unit_and_a_package_has_its_own(tmp_path):
    unit, drop_in = tmp_path / PERSISTENCED, tmp_path / f"{PERSISTENCED}.d" / "gpunode.conf"
    of_file, of_package = (services.wanted_files(True, own) for own in (True, False))
    assert "[Install]" in of_file[str(unit)].text
    # Ours would stand before the package's.
    assert of_package[str(unit)].text is None
    assert of_file[str(drop_in)] == of_package[str(drop_in)]
    assert "ExecCondition" in of_file[str(drop_in)].text


def test_where_the_unit_of_a_package_persists_nothing_ours_starts_it_at_boot_and_persists(tmp_path):
    drop_in = tmp_path / f"{PERSISTENCED}.d" / "gpunode.conf"
    plain = services.wanted_files(True, own_unit=False)[str(drop_in)].text
    text = services.wanted_files(True, False, "/usr/bin/daemon --user nobody")[str(drop_in)].text
    # An empty one takes back what the package says.
    assert "\nExecStart=\nExecStart=/usr/bin/daemon --user nobody\n" in text
    assert "\n[Unit]\nStopWhenUnneeded=no\n" in text
    assert "\n[Install]\nWantedBy=" in text
    assert "ExecStart=" not in plain
    assert "[Install]" not in plain


@pytest.mark.parametrize(
    ("state", "is_stale", "says"),
    [
        ({"ActiveState": "active", "UnitFileState": "static"}, True, ["enable", "restart"]),
        ({"ActiveState": "inactive", "UnitFileState": "static"}, True, ["enable", "start"]),
        (RUNS, False, []),
        (RUNS, True, ["restart"]),
    ],
)
def test_a_unit_that_ours_starts_otherwise_is_enabled_and_runs_so(tmp_path, state, is_stale, says):
    host = host_of(nvidia_persistenced=state)
    files = services.wanted_files(True, False, "/usr/bin/daemon")
    restated = services.restated(files, list(files) if is_stale else [])
    assert restated == {PERSISTENCED: is_stale}
    found = services.states(host.run)
    steps = services.unit_steps([PERSISTENCED], found, True, host.run, restated)
    assert done(steps) == [f"{verb} {PERSISTENCED}" for verb in says]
    assert services.restated(services.wanted_files(True, own_unit=True), list(files)) == {}


def test_a_daemon_that_is_not_wanted_has_no_file_of_ours():
    files = services.wanted_files(False, own_unit=True)
    assert [file.text for file in files.values()] == [None, None]


def test_nothing_of_ours_is_left(tmp_path):
    host = host_of()
    for path, file in services.wanted_files(True, own_unit=True).items():
        text_files.put(path, file)
    assert len(done(removal_steps(host))) == 2
    assert list(tmp_path.iterdir()) == []
    assert removal_steps(host) == []


def test_daemons_end_before_their_programs_go_as_far_as_they_are_there():
    host = host_of(nvidia_persistenced=RUNS, nvidia_gridd={"ActiveState": "inactive"})
    names = [PERSISTENCED, "nvidia-gridd.service"]
    assert done(services.ending_steps(names, services.states(host.run), host.run)) == [
        f"stop {PERSISTENCED}",
        f"disable {PERSISTENCED}",
    ]


def test_fabric_manager_is_for_hosts_with_nvswitches():
    assert services.units(has_switches=False) == [PERSISTENCED]
    assert services.units(has_switches=True) == [PERSISTENCED, FABRIC_MANAGER]


@pytest.mark.parametrize(
    ("state", "may_start", "says"),
    [
        ({}, True, ["enable", "start"]),
        ({}, False, ["enable"]),
        ({"ActiveState": "inactive", "UnitFileState": "enabled"}, True, ["start"]),
        ({"ActiveState": "failed", "UnitFileState": "enabled"}, False, []),
        ({"ActiveState": "active", "UnitFileState": "disabled"}, True, ["enable"]),
        ({"ActiveState": "active", "UnitFileState": "static"}, True, []),
        ({"ActiveState": "active", "UnitFileState": "enabled-runtime"}, True, ["enable"]),
        (RUNS, True, []),
    ],
)
def test_a_unit_is_enabled_and_started_where_it_can_run(state, may_start, says):
    host = host_of(nvidia_persistenced=state)
    steps = services.unit_steps([PERSISTENCED], services.states(host.run), may_start, host.run)
    assert done(steps) == [f"{verb} {PERSISTENCED}" for verb in says]
    assert host.told == [f"{verb} {PERSISTENCED}" for verb in says]
