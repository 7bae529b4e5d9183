"""The driver by packages on nodes shaped as Enterprise Linux and its like, with the real dnf.

What that proves and what not: docs/contributors.md, "Shapes".
"""

from __future__ import annotations

import pytest

from system.nvidia_driver import driver_runs, el_host

pytestmark = pytest.mark.lab

NODE = "node1"
OLD, NEW, NEXT = "580.95.05", "580.105.08", "595.58.03"
R595 = {"gpunode_stack": "r595", "gpunode_driver_modules": "open"}
OPEN, PROPRIETARY = "Dual MIT/GPL", "NVIDIA"
STREAM = "dnf -q -y module reset nvidia-driver; dnf -q -y module enable nvidia-driver:580-open"
COMPUTE = {
    *("kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-driver-cuda-libs"),
    *("libnvidia-cfg", "libnvidia-gpucomp", "libnvidia-ml"),
    *("nvidia-kmod-common", "nvidia-modprobe", "nvidia-persistenced"),
}


@pytest.fixture(scope="module", params=el_host.shapes_of("driver_packages"))
def host(lab, request):
    with el_host.shaped(lab, NODE, request.param) as made:
        yield made


@pytest.fixture
def converge(tmp_path, host):
    return host.converging(tmp_path / "ssh")


def brought(converge, **variables):
    """Run it in check mode and then, hold both to the same, and a further run to resting."""
    driver_runs.as_predicted(converge, NODE, **variables)
    again = converge(**variables)
    assert driver_runs.is_settled(again, NODE), again.messages()


def test_the_packages_of_a_compute_node_come_in_one_version_and_are_held(converge, host):
    host.publish(OLD)
    brought(converge)
    assert host.versions() == dict.fromkeys(COMPUTE, OLD)
    assert host.modules() == {host.release: (OLD, OPEN)}
    assert host.kept() == {OLD}
    assert f"nvidia-driver-cuda-3:{OLD}-1.{host.shape.name}.*" in host.says(f"cat {el_host.PINS}")


def test_the_kind_of_modules_is_exchanged_in_one_transaction(converge, host):
    before = int(host.says("dnf -q history list | wc -l"))
    done = converge(gpunode_driver_modules="proprietary")
    assert done.status == 0, done.messages()
    assert host.modules() == {host.release: (OLD, PROPRIETARY)}
    assert set(host.versions()) == COMPUTE - {"kmod-nvidia-open-dkms"} | {"kmod-nvidia-latest-dkms"}
    assert int(host.says("dnf -q history list | wc -l")) == before + 1


def test_modules_that_cannot_be_built_leave_the_driver_for_every_kernel(converge, host):
    host.publish(OLD, NEXT, faults={"kmod-nvidia-open-dkms": "broken-module"})
    before = host.traces(), host.modules()
    done = converge(**R595)
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert "no module was replaced" in done.messages()
    assert (host.traces(), host.modules()) == before


def test_what_stands_in_the_way_of_a_transaction_is_told(converge, host):
    host.publish(OLD, NEXT, faults={"nvidia-kmod-common": "needs-nobody"})
    before = host.traces(), host.modules()
    done = converge(**R595)
    assert done.status != 0
    assert "nothing provides nobody-has-it needed by nvidia-kmod-common" in done.messages()
    assert (host.traces(), host.modules()) == before


def test_another_branch_and_kind_come_and_give_way_to_an_older_one(converge, host):
    host.publish(OLD, NEXT)
    for said, version in ((R595, NEXT), ({}, OLD)):
        done = converge(**said)
        assert done.status == 0, done.messages()
        assert host.versions() == dict.fromkeys(COMPUTE, version)
        assert host.modules() == {host.release: (version, OPEN)}
    assert host.kept() == {OLD, NEXT}


def test_a_driver_that_is_not_wanted_goes_and_leaves_nothing(converge, host):
    # As a host has it that was set up by a stream; dnf enables the one that is the default as soon
    # as one of its packages is installed.
    if host.shape.has_streams:
        host.says(STREAM)
    brought(converge, nvidia_driver_state="absent")
    assert (host.traces(), host.modules()) == ([], {})
