"""RDMA stack, driver and nv_peer_mem on one node: brought together, changed under each other."""

from __future__ import annotations

import pytest

from lab import kernel
from system import commit_before
from system.mlnx_ofed.rdma_image import FIRST, NEXT_KERNEL, SECOND, Rdma
from system.peer_memory.peer_image import FIRST as DRIVER
from system.peer_memory.peer_image import Peers

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"


class Chain(Peers):
    """The node, its RDMA stack, and its driver and peer memory."""

    def __init__(self, lab, node, folder):
        super().__init__(lab, node, folder)
        self.rdma = Rdma(lab, node, folder)

    def all_of(self, ofed=FIRST, faults=()):
        """Return the variables of a host that is to have all three."""
        return {**self.said(DRIVER), **self.rdma.said(ofed, faults)}

    def builds(self):
        """Return {module: what identifies its build} for the kernel that was there first."""
        told = self.says(f"sha256sum /lib/modules/{self.release}/updates/dkms/*.ko*")
        return {row.split("/")[-1].partition(".")[0]: row.split()[0] for row in told.splitlines()}


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with kernel.on_fresh(lab, NODE):
        yield Chain(lab, NODE, tmp_path_factory.mktemp("made"))


def place(changes, words):
    return next(number for number, row in enumerate(changes) if row.startswith(words))


def test_one_run_brings_all_three_each_before_what_stands_on_it(node):
    changes = node.converged_as_foretold(**node.all_of())
    places = [
        place(changes, words)
        for words in (
            f"install MLNX_OFED {FIRST}",
            f"install NVIDIA driver {DRIVER}",
            "install nv_peer_mem 1.3-0",
        )
    ]
    assert places == sorted(places), changes
    assert node.fits()
    assert node.rests(**node.all_of())


def test_another_rdma_stack_has_peer_memory_built_again_and_leaves_the_driver(node):
    before = node.builds()
    said = node.all_of(SECOND, ["other-symbols"])
    node.converged_as_foretold(**said)
    after = node.builds()
    assert after["nvidia"] == before["nvidia"]
    assert after["ib_core"] != before["ib_core"]
    assert after["nv_peer_mem"] != before["nv_peer_mem"]
    assert node.fits()
    assert node.rests(**said)


def test_a_further_kernel_gets_all_three_in_one_run(node):
    said = node.all_of(SECOND, ["other-symbols"])
    node.add_kernel(NEXT_KERNEL)
    node.converged_as_foretold(**said)
    names = node.says(f"ls /lib/modules/{NEXT_KERNEL}/updates/dkms")
    assert {"ib_core.ko", "nvidia.ko", "nv_peer_mem.ko"} <= set(names.split())
    assert node.rests(**said)


def test_the_distributions_rdma_stack_is_refused_under_peer_memory_that_it_has_nothing_for(node):
    said = {**node.all_of(SECOND), "gpunode_ofed_kind": "inbox"}
    said = {name: text for name, text in said.items() if not name.startswith("gpunode_ofed_")}
    told = node.refused(**said, gpunode_ofed_kind="inbox")
    assert "gpunode_peer_memory_route: nv_peer_mem" in told


def test_all_of_it_goes_in_one_run(node):
    said = node.all_of(SECOND)
    said = {name: text for name, text in said.items() if not name.startswith("gpunode_ofed_")}
    said |= {"gpunode_peer_memory_route": "none", "gpunode_ofed_kind": "inbox"}
    node.converged(**said)
    assert list(node.builds()) == ["nvidia"]
    assert node.rests(**said)


def test_what_the_commit_before_converged_is_adopted_and_nothing_is_built_again(node, tmp_path):
    said = node.all_of()
    earlier = commit_before.unpacked(tmp_path / "before")
    first = commit_before.site(earlier, *node.arguments(**said), log=tmp_path / "ssh")
    assert first.status == 0, first.messages()
    builds, packages = node.builds(), node.rdma.packages()
    assert {"ib_core", "nvidia", "nv_peer_mem"} <= set(builds)
    node.converged(**said)
    assert node.builds() == builds
    assert node.rdma.packages() == packages
    assert node.rests(**said)
