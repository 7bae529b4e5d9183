"""DOCA-OFED from the archive of Ubuntu 26.04 itself; see tests/standins/mlnx_ofed/doca.yml.

What a node that is shaped so proves and what not: docs/contributors.md, "Shapes".
"""

from __future__ import annotations

import pytest

from standins import doca
from system.mlnx_ofed import rdma_image
from system.mlnx_ofed.rdma_image import KEPT, PINS, Rdma
from system.nvidia_driver import driver_runs

NODE, SHAPE = "node1", "ubuntu26.04"
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.executes("doca", SHAPE)]

#: {series: (version of its modules, its package)}.
OLD, NEW = "26.01", "26.04"
CORE = {OLD: "26.01-1.0.0.0", NEW: "26.04-0.8.5.0"}
PACKAGE = {OLD: "doca-ofed-26.01-dkms", NEW: "doca-ofed-3.4-dkms"}
LOCK_S = 40


class Node(Rdma):
    """The node, its archive, and what is asked of its RDMA stack."""

    def __init__(self, lab, host, folder):
        super().__init__(lab, NODE, folder)
        self._host = host

    def publish(self, *series, faults=()):
        """Let the archive's updates have these series and no other, the last with faults."""
        _release, updates, _fixes = self._host.shape.suites()

        def fill(pool):
            for name in series:
                doca.archive_package(pool, CORE[name], faults if name == series[-1] else ())

        self._host.repository.hold(updates, fill, "Ubuntu", "Ubuntu")
        self.says("apt-get update -q")

    def of_doca(self):
        """Return {package: version} of what is installed of DOCA-OFED."""
        listed = self.says(r"dpkg-query -W -f '${db:Status-Abbrev}${Package}=${Version}\n'")
        rows = [line[3:].split("=", 1) for line in listed.splitlines() if line.startswith("ii ")]
        return {name: found for name, found in rows if "doca" in name}


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with rdma_image.ubuntu(lab, NODE, SHAPE) as host:
        yield Node(lab, host, tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def own(node):
    """The packages of Ubuntu's own stack."""
    return node.packages()


def said(series):
    return {
        "gpunode_ofed_kind": "doca",
        "gpunode_ofed_version": series,
        "mlnx_ofed_repository": "ubuntu",
    }


def as_predicted(node, series):
    return driver_runs.as_predicted(node.converge, NODE, **said(series))


def is_there(node, series, own):
    """Hold the node to having a series, whole, beside Ubuntu's own, and a run to resting."""
    assert list(node.of_doca()) == [PACKAGE[series]]
    assert node.packages().items() >= own.items()
    kernels = node.says("ls /lib/modules").split()
    assert node.cores() == dict.fromkeys(kernels, CORE[series])
    assert node.says("dpkg --audit") == ""
    assert node.rests(**said(series))


def test_a_fresh_host_gets_the_modules_of_the_series_and_rests(node, own):
    node.publish(OLD)
    assert f"install DOCA-OFED {OLD}" in as_predicted(node, OLD)
    is_there(node, OLD, own)


def test_a_series_that_the_archive_lacks_leaves_what_is_there(node, own):
    told = node.refused(**said(NEW))
    assert f"the archive has no {PACKAGE[NEW]}" in told
    is_there(node, OLD, own)


def test_an_upgrade_that_does_not_build_is_followed_by_the_series_before(node, own):
    node.publish(OLD, NEW, faults=["broken-module"])
    done = node.converge(**said(NEW))
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert f"doca {OLD} is back" in done.messages()
    is_there(node, OLD, own)


def test_another_series_comes_though_another_one_holds_the_lock_and_goes_again(node, own):
    node.publish(OLD, NEW)
    node.says(driver_runs.hold_lock(LOCK_S))
    changes = node.converged(**said(NEW))
    assert f"install DOCA-OFED {NEW} in place of doca {OLD}" in changes
    assert node.tried("test -e /run/released").returncode == 0
    is_there(node, NEW, own)
    as_predicted(node, OLD)
    is_there(node, OLD, own)


def test_an_update_of_the_host_replaces_nothing_of_it(node):
    before = node.of_doca()
    node.says("DEBIAN_FRONTEND=noninteractive apt-get -q -y dist-upgrade")
    node.says("unattended-upgrade --debug")
    assert node.of_doca() == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (f"dpkg --purge {PACKAGE[OLD]}", f"install DOCA-OFED {OLD}"),
        (f"rm {PINS}", f"hold the packages of the RDMA stack by {PINS}"),
        ("rm /lib/modules/*/updates/dkms/ib_core.ko*", "build the RDMA modules for kernel"),
        (
            f"sed -i '/^Package: {PACKAGE[OLD]}$/,/^$/s/^Status: .*/Status: install ok unpacked/'"
            " /var/lib/dpkg/status",
            f"install DOCA-OFED {OLD}",
        ),
    ],
    ids=["the package", "the pins", "the modules", "a dpkg that was killed"],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, own, damage, says):
    node.says(damage)
    changes = as_predicted(node, OLD)
    assert any(row.startswith(says) for row in changes), changes
    is_there(node, OLD, own)


def test_a_kernel_that_arrives_gets_its_modules(node, own):
    arrived = node.add_kernel(node.release.replace("-generic", "1-generic"))
    assert as_predicted(node, OLD) == [f"build the RDMA modules for kernel {arrived}"]
    is_there(node, OLD, own)


def test_ubuntus_own_takes_its_place_and_nothing_of_ours_stays(node, own):
    inbox = {"gpunode_ofed_kind": "inbox"}
    driver_runs.as_predicted(node.converge, NODE, **inbox)
    assert (node.of_doca(), node.cores(), node.packages()) == ({}, {}, own)
    assert node.tried(f"test -e {KEPT}/packages").returncode == 1
    assert node.tried("dkms status | grep -q doca").returncode == 1
    assert node.rests(**inbox)
