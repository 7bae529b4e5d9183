"""The distribution's own RDMA stack on each shape; see docs/contributors.md, "Shapes"."""

from __future__ import annotations

import functools

import pytest

from lab import shapes
from lab.shapes import ubuntu
from lab.shell import Shell
from system.nvidia_driver import driver_runs, ubuntu_host

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
SAID = {"gpunode_ofed_kind": "inbox"}


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.executes("rdma_distribution", name))
        for name in shapes.SHAPES
    ]
)
def host(lab, request):
    if request.param in ubuntu.SHAPES:
        with ubuntu_host.shaped(lab, NODE, request.param) as made:
            made.publish(families=["ubuntu-rdma"])
            yield made
    else:
        shapes.fresh(lab, NODE, request.param)
        yield Shell(lab, NODE)
        lab.fresh(NODE)


def test_it_comes_as_foretold_a_second_run_rests_and_what_is_removed_comes_again(host, tmp_path):
    converge = functools.partial(driver_runs.converge, NODE, tmp_path / "ssh")
    changes = driver_runs.as_predicted(converge, NODE, **SAID)
    assert any("rdma-core" in row for row in changes)
    assert driver_runs.is_settled(converge(**SAID), NODE)
    asked = "dpkg -s" if host.tried("command -v dpkg").returncode == 0 else "rpm -q"
    host.says(f"{asked} rdma-core")
    host.says("apt-get -q -y purge rdma-core || rpm -e --nodeps rdma-core")
    changes = driver_runs.as_predicted(converge, NODE, **SAID)
    assert any("rdma-core" in row for row in changes)
    host.says(f"{asked} rdma-core")
