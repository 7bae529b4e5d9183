"""A vGPU of a machine is licensed by the real role, and what keeps it from that is said."""

from __future__ import annotations

import json

import pytest

from standins.machine import Machine, gpu
from system import cut_runs, playbooks

pytestmark = [pytest.mark.lab, pytest.mark.executes("vgpu_license", "debian12")]

NODE = "node1"
PLAYBOOK = "tests/system/vgpu_license/role.yml"
SECRET = "eyJhbGciOiJSUzI1NiJ9.eyJzZXJ2ZXIiOiJ4In0.c2lnbmF0dXJlIG9m"
TOKEN = "client_configuration_token_04-02-2026-19-11-16.tok"
CONFIGURATION = "/etc/nvidia/gridd.conf"
UNIT = "nvidia-gridd.service"
VGPU = "NVIDIA Virtual Compute Server"


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(lab, NODE, gpus=[gpu(name="GRID A100D-20C", mode="VGPU", licensed_product=VGPU)])
    made.install()
    made.module()
    made.says("modprobe nvidia")
    yield made
    lab.fresh(NODE)


@pytest.fixture
def said(tmp_path):
    """The arguments of the playbook that say which token, and other options."""
    (tmp_path / TOKEN).write_text(f"{SECRET}\n")

    def arguments(**options):
        options = {"token": str(tmp_path / TOKEN), "wait_s": 10, **options}
        said = {f"vgpu_license_{key}": value for key, value in options.items() if value is not None}
        return "-e", json.dumps(said)

    return arguments


@pytest.fixture
def role(tmp_path, said):
    """Run the role with a token and other options."""

    def run(*arguments, **options):
        return playbooks.run(PLAYBOOK, *said(**options), *arguments, log=tmp_path / "ssh")

    return run


def test_a_driver_without_the_daemons_unit_is_named(machine, role):
    run = role()
    assert run.status != 0
    assert f"{UNIT}: the driver that is installed has no such unit" in run.messages()
    assert machine.tried(f"test -e {CONFIGURATION}").returncode != 0
    machine.userspace(programs=["nvidia-smi", "nvidia-gridd"])


def test_check_mode_says_what_the_run_does(machine, role):
    said = role("--check", "--diff")
    assert said.status == 0, said.messages()
    assert machine.tried(f"test -e {CONFIGURATION}").returncode != 0
    done = role("--diff")
    assert done.status == 0, done.messages()
    assert said.changes(NODE) == done.changes(NODE)
    assert f"restart {UNIT}" in done.changes(NODE)
    assert "Licensed (Expiry" in machine.says("nvidia-smi -q -x")
    stat = machine.says(f"stat --format=%a /etc/nvidia/ClientConfigToken/{TOKEN}")
    assert stat == "744"


def test_what_is_licensed_is_left_alone(machine, role):
    pid = machine.says(f"systemctl show --property=MainPID {UNIT}")
    run = role()
    assert (run.status, run.changed[NODE]) == (0, 0), run.messages()
    assert machine.says(f"systemctl show --property=MainPID {UNIT}") == pid


def test_the_token_is_nowhere_but_in_its_file(machine, role):
    # Another one lies there, so that there is something to show.
    machine.says(f"echo e30.e30.e30 >/etc/nvidia/ClientConfigToken/{TOKEN}")
    said = role("--diff", "-vvv").text
    assert SECRET in machine.says(f"cat /etc/nvidia/ClientConfigToken/{TOKEN}")
    kept = machine.says("cat /var/lib/gpunode/vgpu_license.json; journalctl --boot")
    assert f"write /etc/nvidia/ClientConfigToken/{TOKEN}" in said
    assert SECRET not in said + kept


def test_a_source_that_gives_nothing_is_named_and_the_old_one_serves_on(machine, role):
    before = machine.says(f"cat {CONFIGURATION}")
    machine.license_server("no_seats")
    machine.says(f"systemctl restart {UNIT}; sleep 1.5")
    run = role()
    assert run.status != 0
    assert "the license server has no licence of this kind to give" in run.messages()
    assert machine.says(f"cat {CONFIGURATION}") == before
    machine.license_server("licensed")
    assert role().status == 0


def test_what_is_broken_by_hand_is_reported_and_repaired(machine, role):
    machine.says(
        f"echo FeatureType=9 >>{CONFIGURATION}; systemctl disable --now {UNIT}; "
        f"chmod 644 /etc/nvidia/ClientConfigToken/{TOKEN}"
    )
    run = role()
    assert run.status == 0, run.messages()
    assert run.changes(NODE) == [
        f"write /etc/nvidia/ClientConfigToken/{TOKEN}",
        f"write {CONFIGURATION}",
        f"enable {UNIT}",
        f"restart {UNIT}",
    ]
    assert "Licensed (Expiry" in machine.says("nvidia-smi -q -x")
    assert role().changed[NODE] == 0


def test_a_legacy_server_takes_the_place_of_the_token_though_a_run_was_killed(machine, role, said):
    options = {"token": None, "server": "10.5.8.208"}
    written = f"grep -q 10.5.8.208 {CONFIGURATION}"
    cut_runs.killed(machine, written, "module", *said(**options), playbook=PLAYBOOK)
    run = role(**options)
    assert run.status == 0, run.messages()
    assert role(**options).changed[NODE] == 0
    assert "http://10.5.8.208:7070/request" in machine.says(f"journalctl --boot --unit={UNIT}")
    assert machine.says("ls /etc/nvidia/ClientConfigToken || true") == ""


def test_the_licence_is_had_again_by_the_next_boot(machine):
    machine.reboot()
    machine.says("for _ in 1 2 3 4 5; do test -e /run/machine/license && break; sleep 1; done")
    assert "Licensed" in machine.says("cat /run/machine/license")


def test_the_licence_is_given_back_and_nothing_is_left(machine, role):
    run = role(token=None, state="absent")
    assert run.status == 0, run.messages()
    assert machine.tried(f"test -e {CONFIGURATION}").returncode != 0
    assert "Unlicensed" in machine.says("nvidia-smi -q -x")
    assert role(token=None, state="absent").changed[NODE] == 0
