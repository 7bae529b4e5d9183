"""DOCA-OFED on a node that is an image: from an apt repository, its modules built by DKMS.

The repository is signed with a key of the tests, see doca_state.py.
"""

from __future__ import annotations

import shlex
import shutil

import pytest

from lab import kernel
from system.mlnx_ofed.doca_image import INFO, NEW, OLD, SOURCE, UNTOLD, URL, Doca
from system.mlnx_ofed.rdma_image import FIRST as BUNDLE
from system.mlnx_ofed.rdma_image import KEPT, NEXT_KERNEL, PINS

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.executes("doca", "debian12")]

NODE = "node1"


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with kernel.on_fresh(lab, NODE, "rdma-core", "ibverbs-providers"):
        made = Doca(lab, NODE, tmp_path_factory.mktemp("made"))
        yield made
        made.archive.close()


def test_another_key_leaves_the_host_untouched(node):
    node.publish(OLD)
    told = node.refused(version=OLD, fingerprint="0" * 40)
    assert f"its fingerprint is {node.archive.fingerprint}, wanted is {'0' * 40}" in told
    assert node.sources() == ""


def test_a_mirror_that_is_dead_leaves_the_host_untouched(node):
    told = node.refused(version=OLD, mlnx_ofed_repository_url="http://127.0.0.1:9/doca")
    assert "cannot be reached" in told
    assert node.sources() == ""


def test_a_fresh_host_gets_the_series_of_the_repository(node):
    before = node.fingerprint()
    predicted = node.converge("--check", version=OLD)
    assert predicted.status == 0, predicted.messages()
    assert node.fingerprint() == before
    changes = node.converged(version=OLD)
    assert predicted.changes(NODE) == changes
    assert "install DOCA-OFED 25.07" in changes
    assert node.version() == INFO[OLD]
    assert list(node.cores()) == [node.release]
    assert node.packages()["libibverbs1"] == "2507mlnx58-1.2507097"
    assert node.rests(version=OLD)


def test_openibd_starts_at_boot_and_nothing_was_loaded_or_flashed(node):
    assert node.says("systemctl is-enabled openibd") == "enabled"
    assert node.asked_of("openibd") == node.asked_of("firmware") == []


@pytest.mark.parametrize(
    ("published", "faults", "words"),
    [
        (OLD, (), ["it has doca-ofed 3.1.0-091000 with modules 25.07-0.9.7"]),
        (NEW, ("damaged",), ["Hash Sum mismatch"]),
    ],
)
def test_what_cannot_be_had_whole_leaves_the_stack_that_is_there(node, published, faults, words):
    node.publish(published, faults)
    packages, sources = node.packages(), node.sources()
    told = node.refused(version=NEW)
    assert all(word in told for word in words), told
    assert (node.packages(), node.sources()) == (packages, sources)
    assert node.rests(version=OLD)


@pytest.mark.parametrize("fault", ["broken-module", "package-fails"])
def test_an_upgrade_that_fails_is_followed_by_the_series_before(node, fault):
    packages, cores = node.packages(), node.cores()
    node.publish(NEW, [fault])
    done = node.converge(version=NEW)
    assert done.status != 0
    assert "doca 25.07-0.9.7 is back" in done.messages()
    assert (node.packages(), node.cores()) == (packages, cores)
    assert node.says("dpkg --audit") == ""
    assert node.rests(version=OLD)


def test_another_series_comes_by_packages_alone(node):
    node.publish(NEW)
    node.asked_of("uninstall")
    changes = node.converged(version=NEW)
    assert "install DOCA-OFED 25.10 in place of doca 25.07-0.9.7" in changes
    assert node.asked_of("uninstall") == []
    assert node.version() == INFO[NEW]
    assert node.packages()["libibverbs1"] == "2510.0.11-1"
    kept = node.says(f"ls {KEPT}/packages")
    assert "doca-ofed_3.2.1-044000" in kept
    assert "2507mlnx58" not in kept
    assert node.rests(version=NEW)
    assert node.rests(version="25.10-1.7.1")


def test_a_build_that_the_repository_does_not_have_is_refused(node):
    told = node.refused(version="25.10-2.4.1")
    assert "with modules 25.10-1.7.1" in told


def test_an_update_of_the_host_replaces_nothing_of_it(node):
    packages = node.packages()
    upgrade = "apt-get --simulate --yes dist-upgrade"
    assert node.says(f"{upgrade} | grep ^Inst | grep -E 'rdma|ibv|mlnx'; true") == ""
    held = node.says("apt-cache policy rdma-core | grep -A1 'Installed\\|Candidate'")
    assert held.count(packages["rdma-core"]) == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("dpkg --purge --force-depends perftest", "install DOCA-OFED 25.10"),
        (f"rm {PINS}", f"hold the packages of the RDMA stack by {PINS}"),
        (f"rm {SOURCE}", f"write {SOURCE}"),
        ("systemctl disable openibd", "enable openibd.service"),
        ("rm /lib/modules/*/updates/dkms/ib_core.ko*", "build the RDMA modules for kernel"),
        (f"touch {KEPT}/at-work", "install DOCA-OFED 25.10"),
    ],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, damage, says):
    packages = node.packages()
    node.says(damage)
    changes = node.converged(version=NEW)
    assert any(row.startswith(says) for row in changes), changes
    assert node.packages() == packages
    assert node.rests(version=NEW)


def test_a_further_kernel_gets_its_modules(node):
    node.add_kernel(NEXT_KERNEL)
    changes = node.converged(version=NEW)
    assert changes == [f"build the RDMA modules for kernel {NEXT_KERNEL}"]
    assert sorted(node.cores()) == sorted([node.release, NEXT_KERNEL])


def test_a_run_that_is_killed_is_repaired_by_the_next_one(node):
    node.publish(OLD)
    unit = "gpunode-mlnx_ofed"
    # The module goes first, which would bring back what was there; it waits for its unit.
    killer = (
        f"until systemctl is-active --quiet {unit} && pgrep -x dpkg >/dev/null; do sleep 0.1; "
        f"done; kill -9 $(ps -o ppid= -p $(pgrep -f '[s]ystemd-run --unit={unit}')); "
        f"systemctl kill --signal=KILL {unit}"
    )
    node.says(f"systemd-run --quiet --collect --unit=killer bash -c {shlex.quote(killer)}")
    assert node.converge(version=OLD).status != 0
    node.converged(version=OLD)
    assert node.version() == INFO[OLD]
    assert node.says("dpkg --audit") == ""
    assert node.tried(f"test -e {KEPT}/at-work").returncode == 1
    assert node.rests(version=OLD)


def test_what_a_killed_dpkg_was_unpacking_gives_way(node):
    node.publish(NEW)
    # What dpkg notes before it unpacks; no source has that version any more.
    node.mark("mlnx-ofed-kernel-dkms", "install reinstreq half-installed")
    node.converged(version=NEW)
    assert node.version() == INFO[NEW]
    assert node.says("dpkg --audit") == ""
    assert node.rests(version=NEW)


def test_what_a_killed_dpkg_had_unpacked_is_completed(node):
    node.mark("doca-ofed", "install ok unpacked")
    node.converged(version=NEW)
    assert node.says("dpkg --audit") == ""
    assert node.rests(version=NEW)


def test_packages_whose_dependencies_are_broken_are_brought_back(node):
    packages = node.packages()
    node.publish(OLD, ["package-fails"])
    node.mark("ofed-scripts", "install ok unpacked")
    node.says("dpkg --remove --force-depends mlnx-ofed-kernel-utils")
    done = node.converge(version=OLD)
    assert done.status != 0
    assert "doca 25.10-1.7.1 is back" in done.messages()
    assert node.packages() == packages
    assert node.says("dpkg --audit") == ""
    node.publish(NEW)
    assert node.rests(version=NEW)


def test_the_bundle_takes_its_place_and_leaves_nothing_of_the_repository(node):
    file, digest = node.bundle(BUNDLE).split("#")
    shutil.copyfile(file, node.archive.root / "bundle.tgz")
    said = {
        "version": BUNDLE,
        "gpunode_ofed_kind": "mlnx_ofed",
        "gpunode_ofed_file": f"{URL}/bundle.tgz#{digest}",
    }
    node.converged(**said)
    assert node.version() == f"MLNX_OFED_LINUX-{BUNDLE}:"
    assert not [name for name in node.packages() if name.startswith("doca")]
    assert node.sources() == ""
    assert node.tried(f"test -e {KEPT}/packages").returncode == 1
    assert node.rests(**said)


def test_the_bundle_stays_until_all_packages_are_there(node):
    node.publish(NEW, ["damaged"])
    packages = node.packages()
    told = node.refused(version=NEW)
    assert "Hash Sum mismatch" in told
    assert node.packages() == packages


def test_an_exchange_of_the_bundle_that_fails_brings_it_back(node):
    packages = node.packages()
    node.publish(NEW, ["package-fails"])
    done = node.converge(version=NEW)
    assert done.status != 0
    assert f"MLNX_OFED {BUNDLE} is back" in done.messages()
    assert node.packages() == packages
    assert node.version() == f"MLNX_OFED_LINUX-{BUNDLE}:"


def test_the_bundle_goes_by_its_uninstaller(node):
    node.publish(NEW)
    node.asked_of("uninstall")
    changes = node.converged(version=NEW)
    assert f"install DOCA-OFED 25.10 in place of mlnx_ofed {BUNDLE}" in changes
    assert node.asked_of("uninstall")
    assert node.version() == INFO[NEW]
    assert node.rests(version=NEW)


def test_without_ofed_info_the_package_of_the_modules_tells(node):
    node.publish(UNTOLD)
    node.converged(version=UNTOLD)
    assert node.version() == ""
    assert node.rests(version=UNTOLD)
    node.refused(version=NEW)


def test_the_distributions_own_takes_its_place(node):
    said = {"version": "", "gpunode_ofed_kind": "inbox"}
    changes = node.converged(**said)
    assert any(row.startswith("remove doca 26.10-0.5.0 and install rdma-core") for row in changes)
    assert f"remove {SOURCE}" in changes
    assert (node.cores(), node.sources()) == ({}, "")
    assert not [found for found in node.packages().values() if found.startswith("26")]
    assert node.tried(f"test -e {KEPT}/packages").returncode == 1
    assert node.rests(**said)


def test_a_first_installation_that_fails_is_followed_by_the_distributions_own(node):
    packages = node.packages()
    node.publish(NEW, ["broken-module"])
    done = node.converge(version=NEW)
    assert done.status != 0
    assert "The distribution's own stack is back" in done.messages(), done.messages()
    assert node.packages() == packages
    assert node.sources() == ""
    assert node.says("dpkg --audit") == ""
