"""DOCA-OFED on a node shaped as Enterprise Linux 9, with the real dnf and DKMS.

The repository is signed with a key of the tests, see doca_state.py. What such a node proves:
docs/contributors.md, "Shapes".
"""

from __future__ import annotations

import pytest

from lab import shapes, shell
from standins import doca_rpms, mlnx_ofed, rpms
from system import cut_runs, playbooks
from system.mlnx_ofed import doca_state
from system.nvidia_driver import driver_runs

NODE, SHAPE = "node1", "el9"
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.executes("doca", SHAPE)]

# Two builds of one series, whose trees have one version in DKMS, and another series.
OLD, SAME, NEW = "3.2.1", "3.2.2", "3.4.1"
SERIES = {OLD: "25.10", SAME: "25.10-2.4.1", NEW: "26.04"}
INFO = {OLD: "25.10-1.7.1", SAME: "25.10-2.4.1", NEW: "26.04-1.0.9"}
CORE = {OLD: "25.10-1.7.1.0", SAME: "25.10-2.4.1.0", NEW: "26.04-1.0.9.0"}
PORT = 8098
URL = f"http://127.0.0.1:{PORT}"
KEPT = "/var/lib/gpunode/mlnx_ofed/packages"
PINS, REPOSITORY = "/etc/dnf/plugins/versionlock.list", "/etc/yum.repos.d/gpunode-rdma.repo"
RPM_LOCK, LOCK_S = "/var/lib/rpm/.rpm.lock", 40
_SERVE = (
    f"systemd-run --quiet --collect --unit=mirror python3 -m http.server -d {doca_rpms.PATH}"
    f" -b 127.0.0.1 {PORT}; until (echo >/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null; do sleep 0.2; done"
)


class Node(shell.Shell):
    """The node, its repository, and what is asked of its RDMA stack."""

    def __init__(self, lab, log):
        super().__init__(lab, NODE)
        self.shape = shapes.SHAPES[SHAPE]
        self.release = shapes.fresh(lab, NODE, SHAPE)
        self.repository = doca_rpms.Repository(self, lab.tree(NODE), SHAPE)
        self._log = log
        self.says("dnf -q -y install rdma-core libibverbs", timeout_s=120)
        self.says(f"mkdir -p {doca_rpms.PATH}; {_SERVE}")

    def arguments(self, release=NEW, **variables):
        series = SERIES.get(release, release)
        return doca_state.arguments(NODE, URL, series, {"key": rpms.KEY}, **variables)

    def converge(self, *arguments, **said):
        return playbooks.run(doca_state.PLAY, *self.arguments(**said), *arguments, log=self._log)

    def converged(self, **said):
        done = self.converge(**said)
        assert done.status == 0, done.messages()
        return done.changes(NODE)

    def rests(self, **said):
        return self.converged(**said) == []

    def packages(self):
        """Return {package: version} of what is installed of RDMA."""
        names = "rdma-core 'lib*verbs*' librdmacm 'mlnx-*' ofed-scripts mft perftest 'doca-*'"
        told = self.says(rf"rpm -qa --qf '%{{NAME}}=%{{VERSION}}-%{{RELEASE}}\n' {names}")
        return dict(line.split("=", 1) for line in told.splitlines())

    def cores(self):
        """Return {kernel: version of the RDMA stack that its ib_core is from}."""
        found = self.says("find /lib/modules/ -name 'ib_core.ko*' -path '*/extra/*'").split()
        return {path.split("/")[3]: self.says(f"modinfo -F version {path}") for path in found}

    def info(self):
        return self.tried("ofed_info -s").stdout.strip()

    def told(self):
        return self.says(f"cat {PINS} {REPOSITORY} 2>/dev/null; true")


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    try:
        yield Node(lab, tmp_path_factory.mktemp("made") / "ssh")
    finally:
        lab.fresh(NODE)


def is_there(node, release):
    """Hold the node to having a release, whole, and a run to resting."""
    assert node.info() == f"OFED-internal-{INFO[release]}:"
    assert node.cores() == dict.fromkeys(node.says("ls /lib/modules").split(), CORE[release])
    assert node.packages()["doca-ofed"].startswith(release)
    assert node.rests(release=release)


def test_a_fresh_host_gets_exactly_what_the_repository_has_and_rests(node):
    node.repository.hold(OLD)
    told = node.converge("--check", release=OLD).messages()
    headers = f"kernel-devel-matched-{node.release}"
    assert f"Install {headers}, or remove that kernel" in told
    node.says(f"dnf -q -y install {headers}", timeout_s=120)
    predicted = node.converge("--check", release=OLD)
    assert predicted.status == 0, predicted.messages()
    changes = node.converged(release=OLD)
    assert predicted.changes(NODE) == changes
    assert "install DOCA-OFED 25.10" in changes
    is_there(node, OLD)
    assert node.packages()["libibverbs"] == "2510.0.11-1.el9"
    assert node.says("systemctl is-enabled openibd") == "enabled"
    assert "libibverbs-0:2510.0.11-1.el9.*" in node.told()
    assert node.tried(f"test -e {mlnx_ofed.STATE}/firmware").returncode == 1


def test_all_that_came_is_kept(node):
    kept = node.says(f"ls {KEPT}").split()
    assert {name.rsplit("-", 2)[0] for name in kept} == set(node.packages())


def test_an_update_of_the_host_replaces_nothing_of_it(node):
    packages = node.packages()
    node.says("dnf -y -q upgrade --exclude='kernel*'", timeout_s=300)
    assert node.packages() == packages


def test_what_cannot_be_had_whole_leaves_the_stack_that_is_there(node):
    packages, told = node.packages(), node.told()
    node.repository.hold(NEW, ["damaged"])
    done = node.converge(release=NEW)
    assert done.status != 0
    assert "mlnx-tools" in done.messages()
    assert (node.packages(), node.told()) == (packages, told)


def test_modules_that_cannot_be_built_are_followed_by_the_series_before(node):
    packages, cores, told = node.packages(), node.cores(), node.told()
    node.repository.hold(NEW, ["broken-module"])
    done = node.converge(release=NEW)
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert "doca 25.10-1.7.1 is back" in done.messages()
    assert (node.packages(), node.cores(), node.told()) == (packages, cores, told)


def test_a_package_that_fails_halfway_is_followed_by_the_series_before(node):
    packages, cores = node.packages(), node.cores()
    node.repository.hold(NEW, ["broken-pre"])
    done = node.converge(release=NEW)
    assert done.status != 0
    assert "doca 25.10-1.7.1 is back" in done.messages()
    assert (node.packages(), node.cores()) == (packages, cores)


def test_another_build_of_the_series_has_its_own_modules(node):
    node.repository.hold(SAME)
    node.converged(release=SAME)
    is_there(node, SAME)


def test_a_database_that_another_one_holds_is_waited_for_by_an_upgrade(node):
    node.repository.hold(NEW)
    node.says(driver_runs.hold_lock(LOCK_S, RPM_LOCK))
    changes = node.converged(release=NEW)
    assert "install DOCA-OFED 26.04 in place of doca 25.10-2.4.1" in changes
    assert node.tried("test -e /run/released").returncode == 0
    is_there(node, NEW)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("rpm -e --nodeps perftest", "install DOCA-OFED 26.04"),
        ("rpm -e --nodeps mlnx-ofa_kernel-source", "install DOCA-OFED 26.04"),
        (f"sed -i /libibverbs/d {PINS}", f"hold the packages of the RDMA stack by {PINS}"),
        (f"rm {REPOSITORY}", f"write {REPOSITORY}"),
        ("systemctl disable openibd", "enable openibd.service"),
        ("find /lib/modules/ -name 'ib_core.ko*' -delete", "build the RDMA modules for kernel"),
        ("rm -r /usr/src/ofa_kernel", "install DOCA-OFED 26.04"),
        ("touch /var/lib/gpunode/mlnx_ofed/at-work", "install DOCA-OFED 26.04"),
    ],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, damage, says):
    packages = node.packages()
    node.says(damage)
    changes = node.converged(release=NEW)
    assert any(row.startswith(says) for row in changes), changes
    assert node.packages() == packages
    is_there(node, NEW)


def test_a_kernel_that_arrives_gets_its_modules(node):
    node.says("dnf -y -q install kernel-core kernel-devel-matched", timeout_s=300)
    node.converged(release=NEW)
    assert sorted(node.cores()) == sorted([node.release, node.shape.next_kernel])
    is_there(node, NEW)


def test_a_transaction_that_was_cut_is_brought_to_its_end(node):
    node.repository.hold(OLD)
    at_work = "rpm -q mlnx-ofa_kernel-dkms | grep -q 25.10"
    cut_runs.killed(node, at_work, "host", *node.arguments(release=OLD), playbook=doca_state.PLAY)
    node.converged(release=OLD)
    is_there(node, OLD)
    assert node.says("dnf -q repoquery --duplicates") == ""


def test_the_distributions_own_takes_its_place_and_nothing_of_ours_stays(node):
    changes = node.converged(release="", gpunode_ofed_kind="inbox")
    assert f"remove {REPOSITORY}" in changes
    assert (node.cores(), node.told().strip()) == ({}, "")
    assert node.packages() == {"rdma-core": "61.0-2.el9", "libibverbs": "61.0-2.el9"}
    assert node.tried(f"test -e {KEPT}").returncode == 1
    assert node.tried("dkms status | grep -q .").returncode == 1
    assert node.rests(release="", gpunode_ofed_kind="inbox")
