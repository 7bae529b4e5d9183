"""NVSwitches beside a .run get Fabric Manager by a package of exactly its version."""

from __future__ import annotations

import pytest

from lab import textfile
from standins.machine import STANDIN, Machine, nvswitch
from standins.repository import FLAT, Repository
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND = "535.161.08", "535.183.01"
PACKAGE, UNIT = "nvidia-fabricmanager-535", "nvidia-fabricmanager"


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(lab, NODE, nvswitches=[nvswitch()])
    made.install()
    yield made
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def offer(lab, machine):
    """Offer the host NVIDIA's packages of some versions."""
    repository = Repository(lab.tree(NODE), STANDIN / "bin")

    def publish(*versions):
        repository.publish(FLAT, "cuda", [f"{version}-1" for version in versions], "NVIDIA")
        source = textfile.inside(lab.tree(NODE), "/etc/apt/sources.list.d/cuda.sources")
        textfile.put(source, repository.source(FLAT))
        machine.says("apt-get update -qq")

    yield publish
    repository.close()


def package(machine):
    return machine.tried(f"dpkg-query -W -f '${{Version}}' {PACKAGE}").stdout


def test_where_none_is_offered_nothing_is_changed(converge, files, machine):
    done = converge(files[FIRST])
    assert done.status != 0
    assert "a .run file brings none for the NVSwitches of this host" in done.messages()
    assert machine.tried("test -e /usr/bin/nvidia-smi").returncode != 0


def test_it_comes_in_the_drivers_version_runs_and_computes(converge, files, machine, offer):
    offer(FIRST, SECOND)
    said = converge(files[FIRST], "--check")
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    assert said.changes(NODE) == done.changes(NODE)
    assert package(machine) == f"{FIRST}-1"
    assert machine.says(f"systemctl is-active {UNIT}; systemctl is-enabled {UNIT}").split() == [
        "active",
        "enabled",
    ]
    assert driver_runs.is_settled(converge(files[FIRST]), NODE)


def test_an_update_by_hand_leaves_it_in_the_drivers_version(converge, files, machine):
    assert f"{SECOND}-1" in machine.says(f"apt-cache madison {PACKAGE}")
    machine.says("apt-get dist-upgrade -qq -y")
    assert package(machine) == f"{FIRST}-1"
    machine.says("rm /etc/apt/preferences.d/gpunode-nvidia")
    assert f"Inst {PACKAGE} " in machine.says("apt-get dist-upgrade -s -q")
    done = converge(files[FIRST])
    assert (done.status, done.changes(NODE)) == (0, ["write /etc/apt/preferences.d/gpunode-nvidia"])
    assert f"Inst {PACKAGE} " not in machine.says("apt-get dist-upgrade -s -q")


def test_another_version_is_reported_and_repaired(converge, files, machine):
    machine.says(f"apt-get install -qq -y {PACKAGE}={SECOND}-1; systemctl stop {UNIT}")
    said = converge(files[FIRST], "--check")
    assert f"Fabric Manager is {SECOND}" in said.messages()
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    assert package(machine) == f"{FIRST}-1"
    assert machine.says(f"systemctl is-active {UNIT}") == "active"


def test_it_is_exchanged_with_the_driver_and_runs_before_who_computes(converge, files, machine):
    machine.put(
        "/etc/systemd/system/serve.service",
        "[Service]\nExecStartPre=/bin/ls /run/machine/fabric\n"
        "ExecStart=/bin/sh -c 'exec 3</dev/nvidia0; exec sleep infinity'\n",
    )
    machine.says("systemctl daemon-reload; systemctl start serve")
    boots = machine.boots()
    said = {"gpunode_consent": ["stop_gpu_clients"], "gpunode_drain": ["serve.service"]}
    done = converge(files[SECOND], **said)
    assert done.status == 0, done.messages()
    assert (package(machine), machine.boots()) == (f"{SECOND}-1", boots)
    assert machine.says(f"systemctl is-active {UNIT} serve").split() == ["active"] * 2
    assert driver_runs.is_settled(converge(files[SECOND], **said), NODE)
