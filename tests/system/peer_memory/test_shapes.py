"""nv_peer_mem on nodes shaped as other distributions, by DKMS and by rpmbuild; see test_rpm.py.

The kernels of Ubuntu 24.04 and later and of Enterprise Linux 10 are too new for any driver that
needs it. What such nodes prove and what not: docs/contributors.md, "Shapes".
"""

from __future__ import annotations

import pytest

from lab import shapes
from standins import peer_sources
from system.nvidia_driver import driver_runs
from system.peer_memory import peer_image
from system.peer_memory.peer_image import FIRST, LOAD, SECOND

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
DELIVERIES = {"ubuntu22.04": "dkms", "el8": "rpm", "el9": "rpm", "amzn2023": "rpm"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.executes("peer_memory", name)) for name in DELIVERIES
    ],
)
def node(lab, request, tmp_path_factory):
    shapes.fresh(lab, NODE, request.param)
    folder = tmp_path_factory.mktemp("made")
    made = peer_image.Peers(lab, NODE, folder, DELIVERIES[request.param])
    made.put_ofed(
        peer_sources.ofed(tmp_path_factory.mktemp("ofed") / "without", has_client_ex=False)
    )
    yield made
    lab.fresh(NODE)


def as_predicted(node, version, **variables):
    return driver_runs.as_predicted(node.converge, NODE, **node.said(version, **variables))


def is_in_place(node, version):
    """Hold the node to having a module that its kernel loads and that fits all."""
    assert node.says(f"modinfo -k {node.release} -F filename nv_peer_mem") == node.module_path
    assert node.fits(version)
    assert node.rests(**node.said(version))


def test_a_fresh_host_has_a_module_that_fits_its_driver(node):
    changes = as_predicted(node, FIRST)
    assert f"install nv_peer_mem 1.1-0 for kernel {node.release}" in changes
    assert node.says(f"grep -v '^#' {LOAD}") == "nv_peer_mem"
    is_in_place(node, FIRST)


@pytest.mark.parametrize(
    ("broken", "says"),
    [("rm {module}", "install nv_peer_mem 1.1-0"), (f"rm {LOAD}", f"write {LOAD}")],
    ids=["the module", "what loads it"],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, broken, says):
    node.says(broken.format(module=node.module_path))
    changes = as_predicted(node, FIRST)
    assert any(change.startswith(says) for change in changes), changes
    is_in_place(node, FIRST)


def test_what_cannot_be_built_leaves_what_is_there(node):
    before = node.says(f"sha256sum {node.module_path}")
    with node.unbuildable():
        done = node.converge(**node.said(FIRST))
        assert done.status != 0
        assert "#error gone" in done.messages()
        assert node.says(f"sha256sum {node.module_path}") == before
    is_in_place(node, FIRST)


def test_another_driver_has_it_built_again_in_the_same_run(node):
    node.has_it_built_again_for(SECOND)


def test_without_a_route_nothing_of_it_is_left(node):
    as_predicted(node, SECOND, gpunode_peer_memory_route="none")
    left = "find /etc /usr/src /lib/modules /var/lib/dkms -name '*peer[-_]mem*' -not -path '*ofa*'"
    assert node.says(left) == ""
    # Ubuntu has no rpm.
    assert node.says("rpm -qa 'nvidia_peer*' || true") == ""
    assert node.rests(**node.said(SECOND, gpunode_peer_memory_route="none"))
