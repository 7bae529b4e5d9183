"""The driver of a machine is exchanged and removed in the middle of its life, come what may."""

from __future__ import annotations

import json

import pytest

from standins.machine import Machine
from system import playbooks
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
ROLE = "tests/system/nvidia_driver/role.yml"
FIRST, SECOND = "535.161.08", "535.183.01"
SERVE = "[Service]\nExecStart=/bin/sh -c 'exec 3</dev/nvidia0; exec sleep infinity'\n"
STOP = {"gpunode_consent": ["stop_gpu_clients"], "gpunode_drain": ["serve.service"]}
BOTH = {"gpunode_consent": ["stop_gpu_clients", "reboot"], "gpunode_drain": ["serve.service"]}
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
TRACES = (
    "find /lib/modules /usr/src /var/lib/dkms /etc /usr/bin /usr/lib/x86_64-linux-gnu"
    " -printf '%p %T@\\n' | sort"
)


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(lab, NODE)
    made.install()
    made.put("/etc/systemd/system/serve.socket", "[Socket]\nListenStream=127.0.0.1:9999\n")
    made.put("/etc/systemd/system/serve.service", SERVE)
    yield made
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def files(lab, machine, tmp_path_factory):
    """{version: what gpunode_driver_file is to say}, and "killed": one whose installer dies."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "killed").mkdir()
    found = driver_runs.files(folder, lab, machine, FIRST, SECOND)
    killed = driver_runs.file(folder / "killed", lab, machine, SECOND, faults=("killed",))
    return {**found, "killed": killed}


def is_active(machine, *units):
    """Return which of some units run."""
    told = machine.tried(f"systemctl is-active {' '.join(units)}").stdout.split()
    return [unit for unit, state in zip(units, told, strict=True) if state == "active"]


def loaded(machine):
    return machine.says("cat /proc/driver/nvidia/version | grep -o '535[0-9.]*' | head -1")


def test_who_stays_in_the_way_is_named_and_nothing_at_all_is_touched(
    converge, files, machine, tmp_path
):
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    machine.says("systemctl start serve.socket serve.service")
    machine.client("train.service")
    before, boots = machine.says(TRACES), machine.boots()
    said = driver_runs.said(files[SECOND], **STOP)
    runs = [
        converge(files[SECOND], **STOP),
        # The role by itself, as where a client comes after the plan was made.
        playbooks.run(ROLE, "--limit", NODE, *said, log=tmp_path / "ssh"),
    ]
    for run in runs:
        assert run.status != 0
        assert "train.service" in run.messages()
        assert machine.says("systemctl show --value -p MainPID train.service") in run.messages()
        assert "serve.service" not in run.messages()
    assert machine.says(TRACES) == before
    assert is_active(machine, "serve.socket", "serve.service", "train.service") == [
        "serve.socket",
        "serve.service",
        "train.service",
    ]
    assert machine.boots() == boots
    machine.says("systemctl stop train.service")


def test_where_the_installer_dies_the_old_driver_and_who_used_it_are_back(converge, files, machine):
    done = converge(files["killed"], **STOP)
    assert done.status != 0
    assert f"Driver {FIRST} is back" in done.messages()
    assert (loaded(machine), FIRST in machine.says("nvidia-smi")) == (FIRST, True)
    assert is_active(machine, "serve.socket", "serve.service", "nvidia-persistenced") == [
        "serve.socket",
        "serve.service",
        "nvidia-persistenced",
    ]
    assert driver_runs.is_settled(converge(files[FIRST]), NODE)


def test_a_run_that_was_killed_while_units_were_stopped_is_made_good_by_the_next(
    converge, files, machine
):
    # As a run leaves it that is killed after it stopped them: the note, and nobody running.
    services = ["serve.service", "nvidia-persistenced.service"]
    note = {"triggers": ["serve.socket"], "services": services}
    machine.put("/var/lib/gpunode/drained.json", json.dumps(note))
    machine.says("systemctl stop serve.socket serve.service nvidia-persistenced")
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    assert "had been stopped for the driver" in done.messages()
    assert is_active(machine, "serve.socket", "serve.service", "nvidia-persistenced") == [
        "serve.socket",
        "serve.service",
        "nvidia-persistenced",
    ]
    assert driver_runs.is_settled(converge(files[FIRST]), NODE)


def test_what_stands_on_the_module_is_foreseen_and_leaves_the_change_to_a_reboot(
    converge, files, machine, tmp_path
):
    machine.hold("gdrdrv")
    before, boots = machine.says(TRACES), machine.boots()
    said = driver_runs.said(files[SECOND], **STOP)
    for run in (
        converge(files[SECOND], **STOP),
        playbooks.run(ROLE, "--limit", NODE, *said, log=tmp_path / "ssh"),
    ):
        assert run.status != 0
        assert "gdrdrv stands on nvidia" in run.messages()
        assert "gpunode_consent: [stop_gpu_clients, reboot]" in run.messages()
    assert machine.says(TRACES) == before
    assert loaded(machine) == FIRST
    assert is_active(machine, "serve.socket", "serve.service", "nvidia-persistenced") == [
        "serve.socket",
        "serve.service",
        "nvidia-persistenced",
    ]
    done = converge(files[SECOND], **BOTH)
    assert done.status == 0, done.messages()
    assert (loaded(machine), machine.boots()) == (SECOND, boots + 1)
    assert is_active(machine, "serve.socket", "serve.service") == ["serve.socket", "serve.service"]
    assert driver_runs.is_settled(converge(files[SECOND], **BOTH), NODE)
    assert machine.boots() == boots + 1


def test_units_stay_stopped_until_the_reboot_and_run_after_it(converge, files, machine):
    boots = machine.boots()
    stopped = converge(files[FIRST], "--skip-tags", "reboot", **BOTH)
    assert "reboot" in stopped.messages()
    assert is_active(machine, "serve.socket", "serve.service") == []
    assert (loaded(machine), machine.boots()) == (SECOND, boots)
    done = converge(files[FIRST], **BOTH)
    assert done.status == 0, done.messages()
    assert (loaded(machine), machine.boots()) == (FIRST, boots + 1)
    assert is_active(machine, "serve.socket", "serve.service") == ["serve.socket", "serve.service"]


def test_a_run_that_was_killed_before_the_module_was_exchanged_is_made_good_by_the_next(
    converge, files, machine
):
    # Between the two a run without consent has come as far as the killed one.
    machine.says("systemctl stop serve.socket serve.service")
    done = converge(files[SECOND])
    assert done.status == 0, done.messages()
    assert loaded(machine) == FIRST
    boots = machine.boots()
    done = converge(files[SECOND], **STOP)
    assert done.status == 0, done.messages()
    assert (loaded(machine), machine.boots()) == (SECOND, boots)
    assert is_active(machine, "nvidia-persistenced") == ["nvidia-persistenced"]
    assert machine.says("ls -d /usr/src/nvidia-*") == f"/usr/src/nvidia-{SECOND}"
    assert driver_runs.is_settled(converge(files[SECOND], **STOP), NODE)


def test_what_differs_is_named_and_repaired(converge, files, machine):
    machine.says(
        f"for name in libcuda libnvidia-ml; do"
        f" mv {LIBRARIES}/$name.so.{SECOND} {LIBRARIES}/$name.so.{FIRST};"
        f" ln -sf $name.so.{FIRST} {LIBRARIES}/$name.so.1; done;"
        " systemctl disable --now nvidia-persistenced"
    )
    boots = machine.boots()
    said = converge(files[SECOND], "--check")
    assert f"is {SECOND}, and there are libraries of {FIRST}" in said.messages()
    assert "unit nvidia-persistenced.service is inactive, should be active" in said.messages()
    assert "reboot" not in said.messages()
    done = converge(files[SECOND])
    assert done.status == 0, done.messages()
    assert said.changes(NODE) == done.changes(NODE)
    assert "start again what was stopped for the driver" not in done.changes(NODE)
    assert SECOND in machine.says("nvidia-smi")
    assert machine.says("systemctl is-enabled nvidia-persistenced") == "enabled"
    assert is_active(machine, "nvidia-persistenced") == ["nvidia-persistenced"]
    assert machine.boots() == boots


def test_parameters_are_written_and_hold_from_the_next_loading_on(converge, files, machine):
    parameters = {"nvidia_driver_parameters": {"NVreg_EnableGpuFirmware": 0}}
    done = converge(files[SECOND], **parameters)
    assert done.status == 0, done.messages()
    assert done.changes(NODE) == [
        "write /etc/modprobe.d/gpunode-nvidia.conf, whose parameters hold from the next loading of "
        "the module on"
    ]
    shown = machine.says("modprobe --showconfig | grep '^options nvidia '")
    assert shown == "options nvidia NVreg_EnableGpuFirmware=0"
    assert driver_runs.is_settled(converge(files[SECOND], **parameters), NODE)


def test_a_driver_that_computes_nothing_is_a_failure_by_the_name_of_the_error(
    converge, files, machine
):
    machine.cuda_error(999)
    done = converge(files[SECOND])
    assert done.status != 0
    assert "cuCtxCreate_v2 says CUDA_ERROR_UNKNOWN" in done.messages()
    machine.cuda_error(0)
    assert converge(files[SECOND]).status == 0


def test_a_driver_in_use_is_not_removed_and_else_all_goes_but_what_is_loaded(converge, machine):
    absent, version = {"nvidia_driver_state": "absent"}, loaded(machine)
    machine.client("train.service")
    before = machine.says(TRACES)
    done = converge(None, **absent)
    assert done.status != 0
    assert "train.service" in done.messages()
    assert machine.says(TRACES) == before
    machine.says("systemctl stop train.service serve.socket serve.service")
    said = converge(None, "--check", **absent)
    done = converge(None, **absent)
    assert done.status == 0, done.messages()
    assert said.changes(NODE) == done.changes(NODE)
    assert f"driver {version} is on disk no more" in done.messages()
    left = "find /etc /lib /opt /srv /usr /var -xdev -iname '*nvidia*' | sort"
    others = "linux-headers|^/var/log|^/var/lib/gpunode/nvidia_driver.json$"
    assert machine.says(f"{left} | grep -Ev '{others}' || true") == ""
    assert machine.says("ls /var/lib/gpunode") == "nvidia_driver.json"
    assert machine.loaded() == ["nvidia"]
    again = converge(None, **absent)
    assert driver_runs.is_settled(again, NODE)
    assert "stays loaded until the host is rebooted" in again.messages()
    machine.reboot()
    assert machine.loaded() == []
    last = converge(None, **absent)
    assert driver_runs.is_settled(last, NODE)
    assert "stays loaded" not in last.messages()
