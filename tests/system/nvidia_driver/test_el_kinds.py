"""Both kinds of the driver's modules under one name in DKMS, with the real dnf; see test_el.py.

awslabs/amazon-eks-ami, pull requests 2284 and 2370: from 570.148.08 on the open ones are called
nvidia there as well.
"""

from __future__ import annotations

import pytest

from system.nvidia_driver import driver_runs, el_host

NODE = "node1"
pytestmark = [pytest.mark.lab, pytest.mark.slow]

VERSION = "580.95.05"
TREES = {"kmod-nvidia-open-dkms": "nvidia"}
OPEN, PROPRIETARY = "Dual MIT/GPL", "NVIDIA"


@pytest.fixture(scope="module", params=["el9", "amzn2023"])
def host(lab, request):
    with el_host.shaped(lab, NODE, request.param) as made:
        made.publish(VERSION, trees=TREES)
        yield made


@pytest.fixture
def converge(tmp_path, host):
    run = host.converging(tmp_path / "ssh")
    return lambda kind, *arguments: run(*arguments, gpunode_driver_modules=kind)


def brought(converge, host, kind, license_of_kind):
    """Run it, and hold what is there to the kind, and a further run to resting."""
    done = converge(kind)
    assert done.status == 0, done.messages()
    assert host.modules() == {host.release: (VERSION, license_of_kind)}
    told = host.says("dkms status")
    assert [line.partition(",")[0] for line in told.splitlines()] == [f"nvidia/{VERSION}"]
    again = converge(kind)
    assert driver_runs.is_settled(again, NODE), again.messages()


def test_a_fresh_host_has_the_open_ones(converge, host):
    brought(converge, host, "open", OPEN)


def test_the_other_kind_takes_their_place(converge, host):
    before = int(host.says("dnf -q history list | wc -l"))
    brought(converge, host, "proprietary", PROPRIETARY)
    assert int(host.says("dnf -q history list | wc -l")) == before + 1
    assert "kmod-nvidia-open-dkms" not in host.versions()


def test_a_kind_that_cannot_be_built_leaves_the_one_that_is_there(converge, host):
    faults = {"kmod-nvidia-open-dkms": "broken-module"}
    host.publish(VERSION, faults=faults, trees=TREES)
    before = host.traces(), host.modules()
    done = converge("open")
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert "no module was replaced" in done.messages()
    assert (host.traces(), host.modules()) == before


def test_the_open_ones_come_again(converge, host):
    host.publish(VERSION, trees=TREES)
    brought(converge, host, "open", OPEN)
