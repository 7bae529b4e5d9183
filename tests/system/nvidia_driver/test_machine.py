"""The driver on a host with a kernel of its own and GPUs: loaded, in use, rebooted, given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from standins.machine import Machine
from system import playbooks
from system.nvidia_driver import driver_runs

pytestmark = pytest.mark.lab

NODE = "node1"
FIRST, SECOND = "535.161.08", "535.183.01"


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(lab, NODE)
    made.install()
    yield made
    lab.fresh(NODE)


def boot_id(machine):
    return machine.says("cat /proc/sys/kernel/random/boot_id")


def failed_proofs(folder):
    """Prove the driver of the node as `make verify` does; return the names of what fails.

    :param folder: for the report.
    """
    report = folder / "verify.xml"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/fleet/test_driver.py"),
            *(f"--hosts=ansible://{NODE}", "--ansible-inventory=inventory/lab"),
            f"--junit-xml={report}",
        ],
        cwd=playbooks.PROJECT,
        # testinfra calls Ansible's commands by their names.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) == 4
    assert not [case.get("name") for case in cases if case.find("skipped") is not None]
    return {
        case.get("name").partition("[")[0]
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


def test_a_driver_on_a_fresh_host_is_loaded_and_computes_without_a_reboot(converge, files, machine):
    before = boot_id(machine)
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    assert machine.loaded() == ["nvidia"]
    assert FIRST in machine.says("nvidia-smi")
    assert machine.says("systemctl is-active nvidia-persistenced") == "active"
    assert boot_id(machine) == before
    again = converge(files[FIRST])
    assert driver_runs.is_settled(again, NODE), again.messages()


def test_until_the_reboot_the_old_module_runs_and_one_consent_makes_one_reboot(
    converge, files, machine
):
    before = boot_id(machine)
    done = converge(files[SECOND])
    assert done.status == 0, done.messages()
    assert FIRST in machine.says("cat /proc/driver/nvidia/version")
    assert "reboot waits for gpunode_consent: [reboot]" in done.messages()
    waiting = converge(files[SECOND])
    assert (waiting.status, waiting.changed[NODE]) == (0, 0)
    assert boot_id(machine) == before
    rebooted = converge(files[SECOND], gpunode_consent=["reboot"])
    assert rebooted.status == 0, rebooted.messages()
    after = boot_id(machine)
    assert after != before
    assert SECOND in machine.says("nvidia-smi")
    again = converge(files[SECOND], gpunode_consent=["reboot"])
    assert (again.status, again.changed[NODE], boot_id(machine)) == (0, 0, after)


@pytest.mark.slow
def test_the_proofs_of_a_host_hold_and_fail_where_something_is_missing(files, machine, tmp_path):
    # Where the proofs look for them, as `make verify` has it.
    written = playbooks.PROJECT / "tests" / "output" / "verify.json"

    def failed_checks():
        said = driver_runs.said(files[SECOND])
        where = ("--limit", NODE, "-e", f"verification_json={written}")
        playbooks.run("playbooks/verify.yml", *where, *said, log=tmp_path / "ssh")
        rows = json.loads(written.read_text())["hosts"][NODE]["checks"]
        # NVIDIA supports the branch no longer, which is a warning.
        failed = [row for row in rows if row["outcome"] == "failed"]
        return {row["check"] for row in failed if row["severity"] != "warning"}

    assert failed_checks() == set()
    assert failed_proofs(tmp_path) == set()
    folder = "/lib/modules/$(uname -r)/updates/dkms"
    machine.says(
        f"mkdir /root/away && mv {folder}/nvidia.ko* /etc/modprobe.d/gpunode-nvidia.conf /root/away"
        " && systemctl stop nvidia-persistenced && rmmod nvidia && depmod"
    )
    assert failed_proofs(tmp_path) == {
        "test_every_kernel_that_modules_can_be_built_for_has_the_wanted_one",
        "test_the_kernels_own_drivers_would_not_load",
        "test_the_loaded_module_and_the_libraries_are_of_one_version",
        "test_every_gpu_gives_memory",
    }
    machine.says(
        f"cd /root/away && mv nvidia.ko* {folder} && mv gpunode-nvidia.conf /etc/modprobe.d"
        " && depmod && modprobe nvidia && systemctl start nvidia-persistenced"
    )
    assert failed_proofs(tmp_path) == set()


@pytest.mark.slow
def test_a_gpu_in_use_is_a_refusal_with_its_processes_and_changes_nothing(converge, files, machine):
    machine.client("train.service")
    before = machine.says("find /lib/modules /usr/src /var/lib/dkms /etc -newer /proc/1 | sort")
    done = converge(files[FIRST])
    assert done.status != 0
    assert "train.service" in done.messages()
    assert "stop_gpu_clients" in done.messages()
    consented = converge(files[FIRST], gpunode_consent=["stop_gpu_clients"])
    assert consented.status != 0
    assert "gpunode_drain" in consented.messages()
    assert machine.says("systemctl is-active train.service") == "active"
    assert SECOND in machine.says("nvidia-smi")
    assert (
        machine.says("find /lib/modules /usr/src /var/lib/dkms /etc -newer /proc/1 | sort")
        == before
    )
    machine.says("systemctl stop train.service")


@pytest.mark.slow
def test_with_consent_who_uses_the_gpu_gives_way_and_runs_again_with_the_other_driver(
    converge, files, machine
):
    machine.put("/etc/systemd/system/serve.socket", "[Socket]\nListenStream=127.0.0.1:9999\n")
    machine.put(
        "/etc/systemd/system/serve.service",
        "[Service]\nExecStart=/bin/sh -c 'exec 3</dev/nvidia0; exec sleep infinity'\n",
    )
    machine.put("/etc/systemd/system/idle.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    machine.says("systemctl daemon-reload; systemctl start serve.socket serve.service")
    before = boot_id(machine)
    done = converge(
        files[FIRST],
        gpunode_consent=["stop_gpu_clients"],
        gpunode_drain=["serve.service", "idle.service"],
    )
    assert done.status == 0, done.messages()
    assert boot_id(machine) == before
    assert FIRST in machine.says("nvidia-smi")
    running = machine.says("systemctl is-active serve.socket serve.service nvidia-persistenced")
    assert running.split() == ["active"] * 3
    assert machine.tried("systemctl is-active idle.service").stdout.strip() == "inactive"
    log = machine.says("journalctl -b -o cat -u serve.socket -u serve.service")
    # The first line of each is that of its start by hand.
    order = ["Closed serve.socket", "Stopping serve.service", "Listening on serve.socket"]
    places = [log.index(words, log.index("Closed serve.socket")) for words in order]
    assert places == sorted(places)
    assert log.rindex("Started serve.service") > places[-1]
    again = converge(files[FIRST])
    assert driver_runs.is_settled(again, NODE), again.messages()
