"""MLNX_OFED on a node that is an image: its installer run for real, its modules built by DKMS."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import module_file
from lab import kernel
from system import cut_runs
from system.mlnx_ofed import doca_image
from system.mlnx_ofed.rdma_image import FIRST, KEPT, NEXT_KERNEL, PINS, SECOND, SYMBOLS, Rdma
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.executes("mlnx_ofed", "debian12")]

NODE = "node1"
OWNER = "render-farm"
# An archive with a version that is greater than any vendor's.
_NEWER = r"""
set -e
mkdir -p /srv/newer/deb/DEBIAN
cd /srv/newer
printf '%s\n' 'Package: rdma-core' 'Version: 9999' 'Architecture: all' 'Description: Stand-in' \
    'Maintainer: Nobody <nobody@example.com>' >deb/DEBIAN/control
dpkg-deb --build deb rdma-core.deb
{ cat deb/DEBIAN/control; echo Filename: ./rdma-core.deb; echo Size: $(stat -c %s rdma-core.deb)
  echo SHA256: $(sha256sum <rdma-core.deb | cut -d ' ' -f 1); } >Packages
echo 'deb [trusted=yes] file:/srv/newer ./' >/etc/apt/sources.list.d/newer.list
apt-get --quiet update
"""


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with kernel.on_fresh(lab, NODE):
        made = Rdma(lab, NODE, tmp_path_factory.mktemp("made"))
        yield made


@pytest.fixture(scope="module")
def bare(node):
    """What the node is like without a vendor's stack."""
    return node.fingerprint()


def test_a_fresh_host_gets_exactly_the_wanted_version(node, bare):
    predicted = node.converge("--check", **node.said())
    assert predicted.status == 0, predicted.messages()
    assert node.fingerprint() == bare
    changes = node.converged(**node.said())
    assert predicted.changes(NODE) == changes
    assert f"install MLNX_OFED {FIRST}" in changes
    assert node.version() == f"MLNX_OFED_LINUX-{FIRST}:"
    assert list(node.cores()) == [node.release]
    assert node.says(f"grep -c ib_register_peer_memory_client {SYMBOLS}") == "1"
    assert node.rests(**node.said())


def test_firmware_was_left_alone_and_openibd_too(node):
    assert node.asked_of("firmware") == []
    assert node.asked_of("openibd") == []
    assert node.says("systemctl is-enabled openibd") == "enabled"


def test_nothing_of_the_bundle_is_left_but_the_copy_that_is_kept(node):
    assert (
        node.says("ls -d /var/tmp/gpunode-* /var/cache/gpunode/mlnx_ofed 2>/dev/null; true") == ""
    )
    assert node.says(f"stat -c '%a %U' {KEPT}/{FIRST}.tgz") == "600 root"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mlnx_ofed_options": ["--without-fw-updat"]}, ["no package fw-updat", "mlnx-fw-updater"]),
        ({"mlnx_ofed_options": ["--basics"]}, ["--basics", "Did you mean --basic?"]),
        ({"mlnx_ofed_tmpdir": "tmp"}, ["mlnx_ofed_tmpdir tmp", "not an absolute path"]),
    ],
)
def test_an_option_that_is_misspelt_is_refused_by_name(node, said, words):
    told = node.refused(**node.said(SECOND, **said))
    assert all(word in told for word in words), told


@pytest.mark.slow
def test_an_address_that_is_dead_leaves_the_host_untouched(node):
    digest = "0" * 64
    dead = f"http://127.0.0.1:9/MLNX_OFED_LINUX-{SECOND}-debian12.5-x86_64.tgz#sha256={digest}"
    told = node.refused(**node.said(SECOND, gpunode_ofed_file=dead))
    assert "download http://127.0.0.1:9/" in told
    assert "cannot be reached" in told


@pytest.mark.slow
def test_a_bundle_with_another_digest_leaves_the_host_untouched(node):
    file = node.bundle(SECOND).partition("#")[0]
    told = node.refused(**node.said(SECOND, gpunode_ofed_file=f"{file}#sha256={'0' * 64}"))
    assert "wanted is " + "0" * 64 in told


@pytest.mark.slow
def test_a_bundle_of_another_version_or_distribution_is_refused(node):
    told = node.refused(**node.said(SECOND, gpunode_ofed_file=node.bundle(FIRST)))
    assert f"it is {FIRST}, and {SECOND} is wanted" in told
    other = node.bundle(SECOND, distribution="ubuntu22.04")
    told = node.refused(**node.said(SECOND, gpunode_ofed_file=other))
    assert "it is for ubuntu22.04, and the host is debian12" in told


@pytest.mark.slow
def test_a_bundle_that_broke_off_is_refused(node):
    told = node.refused(**node.said(SECOND, ["truncated"]))
    assert "unpack the bundle of MLNX_OFED" in told


@pytest.mark.slow
def test_a_folder_without_room_is_refused_before_anything_is_unpacked(node):
    node.says("mkdir /mnt/small && mount -t tmpfs -o size=64k tmpfs /mnt/small")
    try:
        told = node.refused(**node.said(SECOND, mlnx_ofed_tmpdir="/mnt/small"))
    finally:
        node.says("umount /mnt/small && rmdir /mnt/small")
    assert "room for MLNX_OFED in /mnt/small" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (22, "it does not know one of its options (status 22)"),
        (28, "it ran out of room (status 28)"),
        (171, "it found no adapter that this release knows (status 171)"),
        (172, "it is of another distribution or architecture"),
        (173, "mst, the tool that reaches the adapters' firmware, did not start"),
    ],
)
def test_a_status_of_the_installer_becomes_a_sentence_and_nothing_was_changed(node, status, words):
    told = node.refused(**node.said(SECOND, {"exit": status}))
    assert words in told, told
    assert "Nothing was changed" in told
    assert "general.log" in told


@pytest.mark.slow
def test_what_stands_on_the_packages_is_named_before_it_would_be_removed(node):
    node.says(driver_runs.package_of_others("libibverbs1"))
    try:
        told = node.refused(**node.said(SECOND))
    finally:
        node.says(f"dpkg --purge {OWNER}")
    assert f"stands on the packages that give way: {OWNER}" in told


@pytest.mark.parametrize(
    "fault",
    [
        "broken-module",
        pytest.param("package-fails", marks=pytest.mark.slow),
        pytest.param("dies-half-way", marks=pytest.mark.slow),
    ],
)
def test_an_upgrade_that_fails_is_followed_by_the_version_before(node, fault):
    packages, cores = node.packages(), node.cores()
    done = node.converge(**node.said(SECOND, [fault]))
    assert done.status != 0
    assert f"MLNX_OFED {FIRST} is back" in done.messages()
    assert (node.packages(), node.cores()) == (packages, cores)
    assert node.version() == f"MLNX_OFED_LINUX-{FIRST}:"
    assert node.says("dpkg --audit") == ""
    # What is said of it once more is what is there.
    node.converged(**node.said())
    assert node.rests(**node.said())


def test_an_upgrade_goes_through_the_uninstaller_of_the_vendor(node):
    node.asked_of("uninstall")
    changes = node.converged(**node.said(SECOND))
    assert f"install MLNX_OFED {SECOND} in place of mlnx_ofed {FIRST}" in changes
    assert node.asked_of("uninstall")
    assert node.version() == f"MLNX_OFED_LINUX-{SECOND}:"
    assert node.says(f"ls {KEPT}/*.tgz") == f"{KEPT}/{SECOND}.tgz"
    assert node.rests(**node.said(SECOND))


@pytest.mark.slow
def test_a_newer_one_of_the_distribution_replaces_nothing_of_it(node):
    upgrade = "apt-get --simulate --yes dist-upgrade | sed -n 's/^Inst \\([^ ]*\\).*/\\1/p'"
    node.says(_NEWER)
    try:
        held = node.says(upgrade).split()
        node.says(f"mv {PINS} /tmp/pins")
        free = node.says(upgrade).split()
    finally:
        node.says(f"mv /tmp/pins {PINS}; rm -r /srv/newer /etc/apt/sources.list.d/newer.list")
    assert "rdma-core" in free
    assert "rdma-core" not in held


@pytest.mark.slow
def test_the_build_of_a_module_is_read_as_readelf_reads_it(node, lab):
    path = f"/lib/modules/{node.release}/updates/dkms/ib_core.ko"
    told = node.says(f"readelf --notes {path}")
    module = module_file.read(f"{lab.tree(NODE)}{path}")
    assert module.build_id
    assert f"Build ID: {module.build_id}" in told


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("rm /lib/modules/*/updates/dkms/ib_core.ko*", "build the RDMA modules for kernel"),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                (f"rm {PINS}", f"hold the packages of the RDMA stack by {PINS}"),
                ("dpkg --purge --force-depends perftest", f"install MLNX_OFED {SECOND}"),
                (f"echo '# by hand' >>{PINS}", f"hold the packages of the RDMA stack by {PINS}"),
                ("systemctl disable openibd", "enable openibd.service"),
                ("rm /usr/bin/ofed_info", f"install MLNX_OFED {SECOND}"),
                (f"rm {SYMBOLS}", f"install MLNX_OFED {SECOND}"),
                (f"touch {KEPT}/at-work", f"install MLNX_OFED {SECOND}"),
            )
        ),
    ],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, damage, says):
    packages = node.packages()
    node.says(damage)
    changes = node.converged(**node.said(SECOND))
    assert any(row.startswith(says) for row in changes), changes
    assert node.packages() == packages
    assert node.version() == f"MLNX_OFED_LINUX-{SECOND}:"
    assert node.rests(**node.said(SECOND))


@pytest.mark.slow
def test_a_further_kernel_gets_its_modules(node):
    node.add_kernel(NEXT_KERNEL)
    changes = node.converged(**node.said(SECOND))
    assert changes == [f"build the RDMA modules for kernel {NEXT_KERNEL}"]
    assert sorted(node.cores()) == sorted([node.release, NEXT_KERNEL])
    assert node.rests(**node.said(SECOND))


def test_a_run_that_is_killed_while_it_builds_is_brought_to_its_end_by_the_next_one(node):
    building = "ls -d /var/lib/dkms/mlnx-ofed-kernel/*/build"
    cut_runs.killed(node, building, "host", *node.arguments(**node.said()))
    node.converged(**node.said())
    assert node.version() == f"MLNX_OFED_LINUX-{FIRST}:"
    assert set(node.cores().values()) == {FIRST}
    assert node.says("dpkg --audit") == ""
    assert node.rests(**node.said())


@pytest.mark.executes("rdma_distribution", "debian12")
def test_the_distributions_own_takes_its_place(node):
    said = {"gpunode_ofed_kind": "inbox"}
    changes = node.converged(**said)
    assert any(row.startswith(f"remove mlnx_ofed {FIRST} and install rdma-core") for row in changes)
    assert node.version() == ""
    assert node.cores() == {}
    assert not [found for found in node.packages().values() if "mlnx" in found]
    assert {"rdma-core", "ibverbs-providers"} <= set(node.packages())
    assert "*mlnx*" in node.says(f"cat {PINS}")
    assert (
        node.says(
            f"ls {KEPT}/*.tgz 2>/dev/null; ls -d /usr/src/mlnx-ofed-kernel* 2>/dev/null; true"
        )
        == ""
    )
    assert node.rests(**said)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["broken-module", "dies-half-way"])
def test_a_first_installation_that_fails_is_followed_by_the_distributions_own(node, fault):
    packages = node.packages()
    done = node.converge(**node.said(SECOND, [fault]))
    assert done.status != 0
    assert "The distribution's own stack is back" in done.messages()
    assert node.packages() == packages
    assert node.cores() == {}
    assert node.says("dpkg --audit") == ""


@pytest.mark.executes("doca", "debian12")
def test_doca_comes_from_its_repository_as_foretold_and_rests(node, lab, tmp_path):
    doca = doca_image.Doca(lab, NODE, tmp_path)
    doca.publish(doca_image.NEW)
    before = doca.packages()
    predicted = doca.converge("--check")
    assert predicted.status == 0, predicted.messages()
    assert doca.packages() == before
    changes = doca.converged()
    doca.archive.close()
    assert predicted.changes(NODE) == changes
    assert doca.version() == doca_image.INFO[doca_image.NEW]
    assert set(doca.cores()) == set(node.says("ls /lib/modules").split())
    assert doca.says("systemctl is-enabled openibd") == "enabled"
    assert doca.rests()
