"""Hosts that wait for a reboot are rebooted once, one after the other, and no further than good."""

from __future__ import annotations

import pytest

from standins.machine import Machine
from system import playbooks
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

# Debian 12 and Debian 13.
NODES = ("node1", "node2")
FIRST, SECOND = "535.161.08", "535.183.01"
REBOOT = {"gpunode_consent": ["reboot"]}
BROKEN = "/etc/modprobe.d/zz-broken.conf"


@pytest.fixture(scope="module")
def machines(lab):
    made = [Machine(lab, node) for node in NODES]
    for machine in made:
        machine.install()
    yield made
    for node in NODES:
        lab.fresh(node)


@pytest.fixture(scope="module")
def files(lab, machines, tmp_path_factory):
    """{version: what gpunode_driver_file is to say}."""
    folder = tmp_path_factory.mktemp("files")
    return driver_runs.files(folder, lab, machines[0], FIRST, SECOND)


@pytest.fixture
def converge(tmp_path):
    return driver_runs.converging(tmp_path / "ssh", *NODES)


def boots(machines):
    return [machine.boots() for machine in machines]


def versions(machines):
    """Return what nvidia-smi says on each, or ''."""
    told = [machine.tried("nvidia-smi").stdout for machine in machines]
    return [next((v for v in (FIRST, SECOND) if f"Version: {v}" in text), "") for text in told]


def batches(run):
    """Return the hosts of each turn of the play that reboots."""
    return [
        sorted(play["tasks"][0]["hosts"])
        for play in run.output["plays"]
        if play["play"]["name"] == "Reboot" and play["tasks"]
    ]


def test_fresh_hosts_of_both_releases_are_driven_without_a_reboot(converge, files, machines):
    before = boots(machines)
    done = converge(files[FIRST], **REBOOT)
    assert done.status == 0, done.messages()
    assert (versions(machines), boots(machines)) == ([FIRST] * 2, before)
    assert driver_runs.is_settled(converge(files[FIRST], **REBOOT), *NODES)


def test_a_run_killed_before_the_reboot_is_made_good_by_one_reboot_of_each_in_turn(
    converge, files, machines
):
    before = boots(machines)
    playbooks.site_killed_at(
        "Look whether the host still waits",
        0,
        "--limit",
        ",".join(NODES),
        *driver_runs.said(files[SECOND], **REBOOT),
    )
    assert boots(machines) == before
    done = converge(files[SECOND], **REBOOT)
    assert done.status == 0, done.messages()
    assert batches(done) == [["node1"], ["node2"]]
    assert (versions(machines), boots(machines)) == ([SECOND] * 2, [n + 1 for n in before])
    assert driver_runs.is_settled(converge(files[SECOND], **REBOOT), *NODES)
    assert boots(machines) == [n + 1 for n in before]


def test_the_next_host_is_not_rebooted_where_the_first_one_is_not_well_after_it(
    converge, files, machines
):
    first, second = machines
    before = boots(machines)
    first.put(BROKEN, "install nvidia /bin/false\n")
    done = converge(files[FIRST], **REBOOT)
    assert done.status != 0
    assert "load the module" in done.messages()
    assert "dmesg" in done.messages()
    assert boots(machines) == [before[0] + 1, before[1]]
    assert SECOND in second.says("cat /proc/driver/nvidia/version")
    first.says(f"rm {BROKEN}")
    done = converge(files[FIRST], **REBOOT)
    assert done.status == 0, done.messages()
    assert (versions(machines), boots(machines)) == ([FIRST] * 2, [n + 1 for n in before])


def test_as_many_are_rebooted_at_once_as_are_said(converge, files, machines):
    before = boots(machines)
    done = converge(files[SECOND], "-e", "gpunode_batch=2", **REBOOT)
    assert done.status == 0, done.messages()
    assert batches(done) == [["node1", "node2"]]
    assert (versions(machines), boots(machines)) == ([SECOND] * 2, [n + 1 for n in before])
