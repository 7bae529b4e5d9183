"""The driver's packages on a real node: in one version, and in that until we say otherwise.

The functions that a node would run work on it from here: its files through its tree, its programs
over SSH.
"""

from __future__ import annotations

import shlex
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    package_archives,
    package_choice,
    package_family,
    package_sets,
    pins,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    package_manager,
    repositories,
    stack_packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog
from lab import textfile
from standins.repository import FLAT, Repository
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE, SUITE = "node1", "bookworm"
OLD, NEW, OTHER, CUDA = "535.161.08", "535.183.01", "550.90.07", "580.95.05"
NAMES = ["libcuda1", "nvidia-smi", "nvidia-persistenced"]
SOURCES = "/etc/apt/sources.list.d"
ROWS = {row["name"]: row for row in catalog.rows("repositories")}
FAMILY = package_family.of(ROWS, "debian")
APT = package_manager.Apt()


class Host:
    """A node whose distribution is the repository, with main alone as it was delivered."""

    def __init__(self, lab):
        self._lab = lab
        self.root = lab.tree(NODE)
        self.tree = Root(str(self.root), self._run)
        self.repository = Repository(self.root)

    def put(self, path, text):
        textfile.put(textfile.inside(self.root, path), text)

    def sh(self, command, timeout_s=300):
        done = self._lab.ssh(NODE, f"sudo sh -c {shlex.quote(command)}", timeout_s=timeout_s)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def execute(self, argv, environment):
        """Run a long command as a node runs it; paths of its tree are its own."""
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), *argv]
        command = " ".join(shlex.quote(word.replace(str(self.root), "")) for word in words)
        return self._lab.ssh(NODE, f"sudo {command}", timeout_s=300)

    def _run(self, argv, **_options):
        done = self.execute(argv, {})
        return subprocess.CompletedProcess(
            argv, done.returncode, done.stdout.encode(), done.stderr.encode()
        )

    def bring(self, version="", branch="535"):
        """Install the driver and pin it, as a converging node does."""
        there = package_sets.installed(self.tree, FAMILY)
        offers = repositories.offered(self.tree, sorted({*NAMES, *there}))
        choice = package_choice.choose(NAMES, offers, branch, FAMILY, version)
        choice = package_choice.along(choice, there, offers, FAMILY)
        package_sets.fetch(choice, FAMILY, self.execute, APT)
        package_sets.install(choice, FAMILY, self.tree, self.execute, APT)
        self.pin(choice.driver)

    def pin(self, driver):
        there = package_sets.installed(self.tree, FAMILY)
        for path, file in pins.wanted_files("apt", there, driver, FAMILY).items():
            self.put(path, file.text)

    def unpin(self):
        self.sh(f"rm -f {pins.PREFERENCES}")

    def drivers(self):
        """Return the versions of the driver that the installed packages have."""
        there = package_sets.installed(self.tree, FAMILY)
        return {
            version.rpartition("-")[0]
            for name, version in there.items()
            if package_family.is_versioned(name, FAMILY)
        }


@pytest.fixture(scope="module")
def host(lab):
    lab.fresh(NODE)
    made = Host(lab)
    # From its own mirror; from then on the node's distribution is the stand-in.
    made.sh(
        "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "
        f"--no-install-recommends unattended-upgrades; rm {SOURCES}/*; systemctl mask "
        "apt-daily.timer apt-daily-upgrade.timer"
    )
    repository = made.repository
    repository.publish(SUITE, "debian", [f"{OLD}-1"])
    # What nobody lets unattended-upgrades take, and what apt itself would.
    repository.publish("company", "debian", [f"{OTHER}-1"], "Company", "Company")
    repository.publish(f"{SUITE}-security", "debian", [f"{NEW}-1"], label="Debian-Security")
    repository.publish(FLAT, "cuda", [f"{CUDA}-1"])
    made.put(
        f"{SOURCES}/debian.sources",
        repository.source(SUITE, f"{SUITE}-security", components=["main"]),
    )
    made.put(f"{SOURCES}/company.sources", repository.source("company"))
    made.put(f"{SOURCES}/cuda.sources", repository.source(FLAT))
    yield made
    repository.close()
    lab.fresh(NODE)


@pytest.fixture
def old(host, monkeypatch):
    """The node with an old driver of its branch, which is pinned."""
    monkeypatch.setattr(own_paths, "CACHE_DIR", str(host.root / "var" / "cache" / "gpunode"))
    coming = host.root / "var" / "lib" / "gpunode" / "nvidia_driver" / "coming"
    monkeypatch.setattr(package_archives, "COMING", str(coming))
    stanzas = [
        fields for fields in repositories.own(host.tree) if SUITE in fields["Suites"].split()
    ]
    text = repositories.text(repositories.DRIVER, ROWS["debian"], "Debian 12", SUITE, stanzas)
    host.put(repositories.DRIVER.source, text)
    host.sh("apt-get update -qq")
    host.bring(OLD)
    return host


def test_components_that_the_hosts_sources_lack_bring_the_packages(old):
    assert "Components: contrib non-free non-free-firmware" in old.tree.text(
        repositories.DRIVER.source
    )
    assert f"{OLD}-1" in repositories.offered(old.tree, ["libcuda1"])["libcuda1"]


def test_the_version_that_is_wanted_is_installed_where_newer_ones_are_offered(old):
    assert old.drivers() == {OLD}


def upgrade(host):
    """Let unattended-upgrades do its work, and return what it says."""
    return host.sh("unattended-upgrade --verbose 2>&1")


def test_unattended_upgrades_changes_nothing_under_the_pins_and_upgrades_without_them(old):
    told = upgrade(old)
    assert old.drivers() == {OLD}, told
    old.unpin()
    told = upgrade(old)
    assert old.drivers() == {NEW}, told


@pytest.mark.parametrize("verb", ["upgrade", "dist-upgrade"])
def test_an_upgrade_by_hand_changes_nothing(old, verb):
    old.sh(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y {verb}")
    assert old.drivers() == {OLD}


def test_what_is_added_later_comes_in_the_drivers_version(old):
    old.sh("DEBIAN_FRONTEND=noninteractive apt-get -q -y install libnvidia-cfg1")
    assert old.drivers() == {OLD}
    told = old.sh("apt-cache policy cuda-drivers nvidia-driver-cuda")
    assert told.count("Candidate: (none)") == 2


def test_the_plan_is_told_of_what_the_pins_hold_back(old):
    rows = {row["name"]: row for row in stack_packages.survey(old.tree)}
    # Of NVIDIA's repository, which has a package of that name as well.
    assert rows["libcuda1"]["offered"] == f"{CUDA}-1"
    assert rows["libcuda1"]["offered_by_security"] is True
    assert rows["nvidia-smi"]["offered"] == f"{OTHER}-1"


def test_who_holds_the_lock_of_dpkg_is_named_after_a_while_and_nothing_is_changed(old, monkeypatch):
    # A node waits for minutes.
    monkeypatch.setattr(package_manager, "LOCK_WAIT_S", 3)
    old.sh(driver_runs.hold_lock(120))
    try:
        with pytest.raises(Refusal, match=r"after 3 s: .* held by process \d+ \(python3\)"):
            old.bring()
    finally:
        old.sh("systemctl stop holder")
    assert old.drivers() == {OLD}


def test_our_own_upgrade_passes_the_pins_and_so_does_the_way_back(old):
    old.bring()
    assert old.drivers() == {NEW}
    upgrade(old)
    assert old.drivers() == {NEW}
    old.bring(OLD)
    assert old.drivers() == {OLD}


def test_another_branch_replaces_all_of_the_one_before(old):
    old.bring(branch="550")
    assert old.drivers() == {OTHER}


def test_nothing_of_the_driver_is_left_once_it_is_removed(old):
    package_sets.remove(FAMILY, old.tree, old.execute, APT)
    assert package_sets.installed(old.tree, FAMILY) == {}
    old.unpin()


def test_a_package_is_unpacked_beside_what_is_installed(old):
    folder = "/var/tmp/unpacked"
    old.sh(f"rm -rf {folder}; mkdir {folder}")
    path = str(old.root / folder.lstrip("/"))
    tree = package_archives.unpack("nvidia-kernel-dkms", f"{NEW}-1", path, APT, old.execute)
    assert f"nvidia-current-{NEW}" in old.sh(f"ls {tree.replace(str(old.root), '')}/usr/src")
    assert old.drivers() == {OLD}
