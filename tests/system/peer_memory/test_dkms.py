"""Peer memory on a node that is an image: built from patched sources, and held against all."""

from __future__ import annotations

import pytest

from lab import kernel
from standins import peer_sources
from system import cut_runs
from system.peer_memory import peer_image
from system.peer_memory.peer_image import FIRST, LOAD, OFED, SECOND

pytestmark = [pytest.mark.lab, pytest.mark.executes("peer_memory", "debian12")]

NODE = "node1"


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with kernel.on_fresh(lab, NODE, "zstd"):
        made = peer_image.Peers(lab, NODE, tmp_path_factory.mktemp("made"))
        yield made


@pytest.fixture(scope="module")
def bare(node):
    """What the node is like with an RDMA stack, and without a driver."""
    return node.fingerprint()


@pytest.fixture(scope="module", autouse=True)
def rdma_stack(node, tmp_path_factory):
    without = peer_sources.ofed(tmp_path_factory.mktemp("ofed") / "without", has_client_ex=False)
    node.put_ofed(without)


def test_a_fresh_host_has_a_module_that_fits_its_driver(node, bare):
    predicted = node.converge("--check", **node.said())
    assert predicted.status == 0, predicted.messages()
    assert node.fingerprint() == bare
    changes = node.converged(**node.said())
    assert predicted.changes(NODE) == changes
    assert f"install nv_peer_mem 1.1-0 for kernel {node.release}" in changes
    assert node.fits(FIRST)
    # Places in a section are small; a version hardly ever is.
    assert min(node.demanded().values()) > 0xFFFF
    assert node.says(f"grep -v '^#' {LOAD}") == "nv_peer_mem"
    assert node.rests(**node.said())


@pytest.mark.slow
def test_what_the_sources_alone_would_build_is_wrong(node):
    """The fault is there: without the patches a module comes of it, with other versions."""
    node.says(
        "rm -rf /tmp/bare; cp -r /usr/src/nv_peer_mem-1.1 /tmp/bare; cd /tmp/bare; "
        f"make -s all KVER={node.release} >/dev/null 2>&1"
    )
    demanded, exported = node.demanded("/tmp/bare/nv_peer_mem.ko"), node.exported(FIRST)
    wrong = [symbol for symbol in demanded if demanded[symbol] != exported[symbol]]
    assert wrong == [symbol for symbol in demanded if symbol.startswith("nvidia_p2p_")]


@pytest.mark.slow
def test_a_module_that_would_not_load_is_reported_and_built_again(node):
    good = node.demanded()
    node.says(f"cp /tmp/bare/nv_peer_mem.ko {node.module_path}")
    planned = node.converge("--check", **node.said())
    assert f"file {node.module_path} was changed" in planned.messages()
    changes = node.converged(**node.said())
    assert planned.changes(NODE) == changes
    assert f"build nv_peer_mem 1.1-0 for kernel {node.release}" in changes
    assert node.demanded() == good
    assert node.rests(**node.said())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("rm /lib/modules/*/updates/dkms/nv_peer_mem.ko", "install nv_peer_mem 1.1-0"),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                (f"rm {LOAD}", f"write {LOAD}"),
                (
                    "echo nvidia-peermem >/etc/modules-load.d/other.conf",
                    "remove /etc/modules-load.d/other.conf",
                ),
                (
                    "echo '# by hand' >>/etc/dkms/nv_peer_mem.conf",
                    "write /etc/dkms/nv_peer_mem.conf",
                ),
                ("echo '# by hand' >>/usr/src/nv_peer_mem-1.1/Makefile", "build nv_peer_mem 1.1-0"),
                ("dkms remove nv_peer_mem/1.1 --all", "install nv_peer_mem 1.1-0"),
            )
        ),
    ],
)
def test_what_is_broken_by_hand_is_repaired(node, broken, says):
    node.says(broken)
    changes = node.converged(**node.said())
    assert any(change.startswith(says) for change in changes), changes
    assert node.rests(**node.said())


def test_what_cannot_be_built_leaves_what_is_there(node):
    said = node.said(peer_memory_driver_source="/nowhere", gpunode_peer_memory_tag="1.1-0")
    assert "peer_memory_driver_source" in node.refused(**said)
    newer = node.refused(**node.said(gpunode_peer_memory_tag="1.3-0"))
    assert "no struct peer_memory_client_ex" in newer
    other = f"{node.archives['1.1-0'].partition('#')[0]}#sha256={64 * '0'}"
    node.says("echo '# by hand' >>/usr/src/nv_peer_mem-1.1/Makefile")
    assert "its sha256 is" in node.refused(**node.said(peer_memory_archives={"1.1-0": other}))
    node.converged(**node.said())


def test_another_driver_has_it_built_again_in_the_same_run(node):
    node.has_it_built_again_for(SECOND)


def test_an_rdma_stack_that_changed_has_it_built_again(node, tmp_path):
    node.put_ofed(peer_sources.ofed(tmp_path / "with", version=0x12345678))
    changes = node.converged(**node.said(SECOND))
    # It takes the newer clients as well now.
    assert f"install nv_peer_mem 1.3-0 for kernel {node.release}" in changes
    assert "remove nv_peer_mem 1.1 from DKMS" in changes
    assert node.demanded()["ib_register_peer_memory_client"] == 0x12345678
    assert node.rests(**node.said(SECOND))


def test_a_run_that_is_killed_while_it_builds_is_brought_to_its_end_by_the_next_one(node):
    node.says("dkms remove nv_peer_mem/1.3 --all")
    building = "test -d /var/lib/dkms/nv_peer_mem/1.3/build"
    cut_runs.killed(node, building, "host", *node.arguments(**node.said(SECOND)))
    node.converged(**node.said(SECOND))
    assert node.demanded()["ib_register_peer_memory_client"] == 0x12345678
    assert node.rests(**node.said(SECOND))


def test_without_a_route_the_host_is_as_it_was(node):
    changes = node.converged(**node.said(SECOND, gpunode_peer_memory_route="none"))
    assert "remove nv_peer_mem 1.3 from DKMS" in changes
    assert node.says("find /etc /usr/src /lib/modules /var/lib/dkms -name '*peer[-_]mem*'") == (
        f"{OFED}/include/rdma/peer_mem.h"
    )
    assert node.rests(**node.said(SECOND, gpunode_peer_memory_route="none"))


@pytest.mark.slow
def test_a_driver_that_lies_elsewhere_and_packed_does_as_well(node):
    node.says(
        "mkdir -p /var/k8s/kernel; zstd -q /lib/modules/*/updates/dkms/nvidia.ko -o "
        f"/var/k8s/nvidia.ko.zst; cp -r /usr/src/nvidia-{SECOND}/. /var/k8s/kernel"
    )
    exported = node.exported(SECOND)
    node.converged(nvidia_driver_state="absent")
    assert "is not there" in node.refused(**node.said(None))
    said = node.said(
        None,
        peer_memory_driver_module="/var/k8s/nvidia.ko.zst",
        peer_memory_driver_source="/var/k8s",
    )
    node.converged(**said)
    demanded = node.demanded()
    assert {symbol: exported.get(symbol, 0x12345678) for symbol in demanded} == {
        **demanded, "ib_register_peer_memory_client": exported["ib_register_peer_memory_client"],
    }  # fmt: skip
    assert node.rests(**said)


def test_by_rpm_a_package_brings_it_for_the_kernel_as_foretold_and_rests(node):
    said = node.said(SECOND, peer_memory_delivery="rpm")
    changes = node.converged_as_foretold(**said)
    assert f"install nv_peer_mem 1.3-0 for kernel {node.release}" in changes
    path = node.module_of("rpm")
    assert node.says("find /lib/modules -name 'nv_peer_mem*'") == path
    packaged = node.says(f"rpm --query --file {path}")
    assert packaged.startswith("nvidia_peer_memory-1.3-0.")
    assert node.demanded(path)["ib_register_peer_memory_client"] == 0x12345678
    assert node.says(f"modinfo -k {node.release} -F filename nv_peer_mem") == path
    assert node.rests(**said)
