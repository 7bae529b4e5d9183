"""The driver from Ubuntu's packages, on a node that is shaped as Ubuntu 24.04."""

from __future__ import annotations

import functools

import pytest

from system.nvidia_driver import driver_runs, ubuntu_host

pytestmark = [
    pytest.mark.lab,
    pytest.mark.executes("facts", "ubuntu24.04"),
    pytest.mark.executes("driver_packages", "ubuntu24.04"),
]

NODE = "node1"
FIRST, SECOND = "580.95.05", "580.126.20"
PERSISTENCED = "nvidia-persistenced.service"
OPEN, PROPRIETARY = "Dual MIT/GPL", "NVIDIA"
as_predicted = functools.partial(driver_runs.as_predicted, node=NODE)


@pytest.fixture(scope="module")
def host(lab):
    with ubuntu_host.shaped(lab, NODE, "ubuntu24.04") as made:
        yield made


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        said = {"gpunode_stack": "r580", **variables}
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **said)

    return run


def test_a_fresh_host_has_the_newest_version_that_ubuntu_did_not_stop_and_rests(converge, host):
    host.publish(FIRST, SECOND, phased={SECOND: 0})
    told = as_predicted(converge)
    assert f"and not {SECOND}, which the archive stopped" in " ".join(told)
    found = host.versions()
    assert set(found.values()) == {host.package_version(FIRST)}
    assert {"nvidia-headless-580-server-open", "nvidia-utils-580-server"} <= set(found)
    assert host.modules() == {host.release: FIRST}
    assert driver_runs.is_settled(converge(), NODE)


def test_persistence_is_on_though_the_unit_of_the_package_does_without(host):
    shown = host.says(
        "systemctl show -p ExecStart -p StopWhenUnneeded -p UnitFileState " + PERSISTENCED
    )
    assert "--no-persistence-mode" not in shown
    assert "--user nvidia-persistenced" in shown
    assert "StopWhenUnneeded=no" in shown
    assert "UnitFileState=enabled" in shown


def test_a_change_of_kind_never_asks_for_both_and_goes_both_ways(converge, host):
    as_predicted(converge, gpunode_driver_modules="proprietary")
    assert (host.licences(), host.kinds()) == ({PROPRIETARY}, {"proprietary"})
    done = converge(gpunode_driver_modules="open")
    assert done.status == 0, done.messages()
    assert (host.licences(), host.kinds()) == ({OPEN}, {"open"})
    assert host.modules() == {host.release: FIRST}


def test_modules_that_do_not_build_leave_the_driver_that_is_there(converge, host):
    before = host.versions()
    host.publish(SECOND, faults={"nvidia-kernel-source-{branch}-server-open": "broken-module"})
    host.says("apt-get -q -y purge nvidia-utils-580-server")
    done = converge()
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert host.modules() == {host.release: FIRST}
    assert set(before) - set(host.versions()) == {"nvidia-utils-580-server"}


def test_removal_leaves_nothing(converge, host):
    done = converge(nvidia_driver_state="absent")
    assert done.status == 0, done.messages()
    assert (host.versions(), host.modules(), host.kept()) == ({}, {}, {})
    traces = [line for line in host.traces() if "nvidia" in line]
    assert traces == []
