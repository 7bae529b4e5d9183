"""MLNX_OFED on nodes shaped as Enterprise Linux, with the real rpm and dnf; see test_bundle.py.

What such nodes prove and what not: docs/contributors.md, "Shapes".
"""

from __future__ import annotations

import hashlib

import pytest

from lab import shapes, shell
from standins import mlnx_ofed_rpms
from system import playbooks
from system.mlnx_ofed.rdma_image import FIRST, KEPT, SECOND
from system.nvidia_driver import driver_runs

NODE = "node1"
pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: What the vendor calls the distribution that a shape is of.
DISTRIBUTIONS = {"el9": "rhel9.6"}
PINS, RPM_LOCK, LOCK_S = "/etc/dnf/plugins/versionlock.list", "/var/lib/rpm/.rpm.lock", 40
GRUBENV = "/boot/grub2/grubenv"


class Node(shell.Shell):
    """The node, the bundles for it, and what is asked of its RDMA stack."""

    def __init__(self, lab, shape, log):
        super().__init__(lab, NODE)
        self.shape = shapes.SHAPES[shape]
        self.release = shapes.fresh(lab, NODE, shape)
        self.bundles = mlnx_ofed_rpms.Bundles(self, lab.tree(NODE), self.shape)
        self._log = log
        self._made = {}
        self.says("dnf -q -y install rdma-core libibverbs", timeout_s=120)

    def said(self, version=FIRST, faults=(), distribution=""):
        distribution = distribution or DISTRIBUTIONS[self.shape.name]
        key = version, tuple(faults), distribution
        if key not in self._made:
            path = self.bundles.make(version, distribution, faults)
            self._made[key] = f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"
        return {
            "gpunode_ofed_kind": "mlnx_ofed",
            "gpunode_ofed_version": version,
            "gpunode_ofed_file": self._made[key],
        }

    def converge(self, *arguments, **said):
        asked = driver_runs.said(**said)
        return playbooks.site("--limit", NODE, *asked, *arguments, log=self._log)

    def converged(self, **said):
        done = self.converge(**said)
        assert done.status == 0, done.messages()
        return done.changes(NODE)

    def rests(self, **said):
        """Say whether a run finds nothing to do."""
        done = self.converge(**said)
        return driver_runs.is_settled(done, NODE) or done.messages()

    def packages(self):
        """Return {package: version} of what is installed of RDMA."""
        names = "rdma-core 'lib*verbs*' librdmacm 'mlnx-*' 'kmod-mlnx*' ofed-scripts mft perftest"
        told = self.says(rf"rpm -qa --qf '%{{NAME}}=%{{VERSION}}-%{{RELEASE}}\n' {names}")
        return dict(line.split("=", 1) for line in told.splitlines())

    def cores(self):
        """Return {kernel: version of the RDMA stack that its ib_core is from}."""
        found = self.says("find /lib/modules/ -name 'ib_core.ko*' -path '*/extra/*'").split()
        return {path.split("/")[3]: self.says(f"modinfo -F version {path}") for path in found}

    def version(self):
        return self.tried("ofed_info -s").stdout.strip()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.executes("mlnx_ofed", name)) for name in DISTRIBUTIONS
    ],
)
def node(lab, request, tmp_path_factory):
    try:
        yield Node(lab, request.param, tmp_path_factory.mktemp("made") / "ssh")
    finally:
        lab.fresh(NODE)


@pytest.fixture(scope="module")
def own(node):
    """The packages of the distribution's own stack."""
    return node.packages()


def as_predicted(node, **said):
    return driver_runs.as_predicted(node.converge, NODE, **said)


def is_there(node, version):
    """Hold the node to having a version, whole, for the kernel that boots, and a run to resting."""
    assert node.version() == f"MLNX_OFED_LINUX-{version}:"
    assert node.cores().get(node.release) == version
    assert f"rdma-core-0:{node.packages()['rdma-core']}" in node.says(f"cat {PINS}")
    assert node.says("systemctl is-enabled openibd") == "enabled"
    assert node.rests(**node.said(version)) is True


def test_what_the_installer_lacks_of_the_distribution_is_named(node, own):
    done = node.converge(**node.said())
    assert done.status != 0
    assert "Run `dnf install tcl tk` on the host" in done.messages()
    assert node.packages() == own


def test_a_fresh_host_gets_exactly_the_wanted_version_in_its_order_and_rests(node, own):
    node.bundles.offer_required()
    node.says("dnf -q -y install tcl tk")
    assert f"install MLNX_OFED {FIRST}" in as_predicted(node, **node.said())
    assert own.items() & node.packages().items() == set()
    # rpm's own order of what came: modules before what is of user level.
    told = node.says(r"rpm -qa --qf '%{DBINSTANCE} %{NAME}\n' | sort -n").splitlines()
    names = [line.split()[1] for line in told]
    order = mlnx_ofed_rpms.TABLE["order"]["packages"]
    assert [name for name in names if name in order] == order
    is_there(node, FIRST)


def test_a_bundle_for_another_release_is_refused(node):
    done = node.converge(**node.said(SECOND, distribution="rhel7.9"))
    assert done.status != 0
    assert "it is for rhel7.9, and the host is rhel" in done.messages()
    is_there(node, FIRST)


def test_an_update_of_the_host_replaces_nothing_of_it(node):
    packages = node.packages()
    node.says("dnf -y -q upgrade --exclude='kernel*'", timeout_s=300)
    assert node.packages() == packages


@pytest.mark.parametrize("fault", ["broken-module", "package-fails"])
def test_an_upgrade_that_fails_is_followed_by_the_version_before(node, fault):
    packages, cores = node.packages(), node.cores()
    done = node.converge(**node.said(SECOND, [fault]))
    assert done.status != 0
    assert f"MLNX_OFED {FIRST} is back" in done.messages() or "Nothing was changed" in (
        done.messages()
    )
    assert (node.packages(), node.cores()) == (packages, cores)
    # What is said of it once more is what is there.
    node.converged(**node.said())
    is_there(node, FIRST)


def test_an_upgrade_waits_for_a_database_that_another_one_holds(node):
    node.says(driver_runs.hold_lock(LOCK_S, RPM_LOCK))
    changes = node.converged(**node.said(SECOND))
    assert f"install MLNX_OFED {SECOND} in place of mlnx_ofed {FIRST}" in changes
    assert node.tried("test -e /run/released").returncode == 0
    is_there(node, SECOND)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("rpm -e --nodeps perftest", f"install MLNX_OFED {SECOND}"),
        (f"sed -i /libibverbs/d {PINS}", f"hold the packages of the RDMA stack by {PINS}"),
        ("rm -r /lib/modules/*/extra/mlnx-ofa_kernel/drivers", f"install MLNX_OFED {SECOND}"),
        ("systemctl disable openibd", "enable openibd.service"),
    ],
    ids=["a package", "a pin", "the modules", "the service"],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, damage, says):
    packages = node.packages()
    node.says(damage)
    changes = as_predicted(node, **node.said(SECOND))
    assert any(row.startswith(says) for row in changes), changes
    assert node.packages() == packages
    is_there(node, SECOND)


def test_a_kernel_that_boots_next_and_that_the_bundle_has_not_gets_modules_of_its_own(node):
    coming = " ".join(f"{name}-{node.shape.next_kernel}" for name in node.shape.kernel_packages)
    node.says(f"dnf -y -q install {coming}", timeout_s=300)
    node.says(f"sed -i s/{node.release}/{node.shape.next_kernel}/ {GRUBENV}")
    node.release = node.shape.next_kernel
    assert f"install MLNX_OFED {SECOND}" in " ".join(as_predicted(node, **node.said(SECOND)))
    assert "mlnx-ofa_kernel-modules" in node.packages()
    is_there(node, SECOND)


def test_the_distributions_own_takes_its_place_and_nothing_of_ours_stays(node, own):
    inbox = {"gpunode_ofed_kind": "inbox"}
    changes = as_predicted(node, **inbox)
    assert any(row.startswith(f"remove mlnx_ofed {SECOND} and install") for row in changes)
    assert (node.version(), node.cores(), node.packages()) == ("", {}, own)
    assert node.says(f"ls {KEPT}/*.tgz 2>/dev/null; true") == ""
    assert node.tried(f"grep -q verbs {PINS}").returncode != 0
    assert node.rests(**inbox) is True
