"""nv_peer_mem as RPMs on a node that is an image: built by rpmbuild, and held against all."""

from __future__ import annotations

import pytest

from lab import kernel
from standins import peer_sources
from system import cut_runs
from system.peer_memory import peer_image
from system.peer_memory.peer_image import FIRST, LOAD, OFED, SECOND

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
PACKAGE = "nvidia_peer_memory"
NOTHING = f"package {PACKAGE} is not installed"
# All that a package or DKMS would leave of it.
LEFT = "find /etc /usr/src /lib/modules /var/lib/dkms /var/cache/gpunode -name '*peer[-_]mem*'"


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    ofed = peer_sources.ofed(tmp_path_factory.mktemp("ofed") / "without", has_client_ex=False)
    with kernel.on_fresh(lab, NODE, "zstd"):
        made = peer_image.Peers(lab, NODE, tmp_path_factory.mktemp("made"), "rpm")
        made.put_ofed(ofed)
        yield made


def packaged(node):
    """Return what RPM says of the packages, with the version of the module in them."""
    return node.tried(f"rpm --query {PACKAGE}").stdout.strip()


def package(tag, release):
    """Return the name of the package for a kernel."""
    return f"{PACKAGE}-{tag}.{release.replace('-', '_')}"


def test_a_fresh_host_has_a_package_whose_module_fits_its_driver(node):
    before = node.fingerprint()
    predicted = node.converge("--check", **node.said())
    assert predicted.status == 0, predicted.messages()
    assert node.fingerprint() == before
    changes = node.converged(**node.said())
    assert predicted.changes(NODE) == changes
    # What else is needed came with DKMS, which brings the driver.
    assert "install rpm" in changes
    assert f"install nv_peer_mem 1.1-0 for kernel {node.release}" in changes
    assert packaged(node) == f"{package('1.1-0', node.release)}.x86_64"
    assert node.says(f"rpm --query --file {node.module_path}") == packaged(node)
    assert node.fits(FIRST)
    assert node.says(f"modinfo -k {node.release} -F filename nv_peer_mem") == node.module_path
    assert node.says(f"grep -v '^#' {LOAD}") == "nv_peer_mem"
    # The sources make their package in folders /tmp/nv.XXXXXX, which is to be a /tmp of their own.
    assert node.says("find /tmp /var/cache/gpunode -mindepth 1 -name '*nv*'") == ""
    assert node.rests(**node.said())


@pytest.mark.parametrize(
    "broken",
    [
        "rm {module}",
        "truncate --size 1000 {module}",
        f"rpm --erase --nodeps --noscripts {PACKAGE}",
    ],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(node, broken):
    node.says(broken.format(module=node.module_path))
    planned = node.converge("--check", **node.said())
    assert f"file {node.module_path} " in planned.messages()
    changes = node.converged(**node.said())
    assert planned.changes(NODE) == changes
    assert changes == [
        f"build nv_peer_mem 1.1-0 for kernel {node.release}",
        f"install nv_peer_mem 1.1-0 for kernel {node.release}",
    ]
    assert node.fits(FIRST)
    assert node.rests(**node.said())


def test_what_loads_it_at_boot_is_missed_and_comes_again(node):
    node.says(f"rm {LOAD}")
    planned = node.converge("--check", **node.said())
    assert LOAD in planned.messages()
    assert planned.changes(NODE) == node.converged(**node.said()) == [f"write {LOAD}"]
    assert node.rests(**node.said())


def test_what_cannot_be_built_leaves_what_is_there(node):
    before = node.says(f"sha256sum {node.module_path}")
    with node.unbuildable():
        says = node.refused(**node.said())
        assert "#error gone" in says
        assert node.says(f"sha256sum {node.module_path}") == before
        assert packaged(node) == f"{package('1.1-0', node.release)}.x86_64"
    assert node.rests(**node.said())


def test_another_driver_has_it_built_again_in_the_same_run(node):
    node.has_it_built_again_for(SECOND)


def test_an_rdma_stack_that_changed_has_it_built_again(node, tmp_path):
    node.put_ofed(peer_sources.ofed(tmp_path / "with", version=0x12345678))
    before = node.says(f"sha256sum {node.module_path}; rpm --query {PACKAGE}")
    cut_runs.killed(node, "pgrep -x rpmbuild", "host", *node.arguments(**node.said(SECOND)))
    assert node.says(f"sha256sum {node.module_path}; rpm --query {PACKAGE}") == before
    changes = node.converged(**node.said(SECOND))
    # It takes the newer clients as well now.
    assert f"install nv_peer_mem 1.3-0 for kernel {node.release}" in changes
    assert packaged(node) == f"{package('1.3-0', node.release)}.x86_64"
    assert node.demanded()["ib_register_peer_memory_client"] == 0x12345678
    assert node.rests(**node.said(SECOND))


def test_by_dkms_and_back_each_takes_the_place_of_the_other(node):
    by_dkms = node.said(SECOND, peer_memory_delivery="dkms")
    predicted = node.converge("--check", **by_dkms)
    changes = node.converged(**by_dkms)
    assert predicted.changes(NODE) == changes
    assert f"remove the package {package('1.3-0', node.release)}" in changes
    assert packaged(node) == NOTHING
    there = node.says("find /lib/modules -name 'nv_peer_mem*'")
    assert there == node.module_of("dkms")
    assert node.rests(**by_dkms)
    predicted = node.converge("--check", **node.said(SECOND))
    changes = node.converged(**node.said(SECOND))
    assert predicted.changes(NODE) == changes
    assert "remove nv_peer_mem 1.3 from DKMS" in changes
    assert node.says("dkms status nv_peer_mem; find /lib/modules -name 'nv_peer_mem*'") == (
        node.module_path
    )
    assert node.fits(SECOND)
    assert node.rests(**node.said(SECOND))


def test_a_further_kernel_has_a_package_of_its_own_that_goes_with_it(node):
    other = node.add_kernel("6.1.0-99-cloud-amd64")
    before = node.says(f"sha256sum {node.module_path}")
    changes = node.converged(**node.said(SECOND))
    assert f"install nv_peer_mem 1.3-0 for kernel {other}" in changes
    both = {f"{package('1.3-0', release)}.x86_64" for release in (node.release, other)}
    assert set(packaged(node).splitlines()) == both
    assert node.says(f"sha256sum {node.module_path}") == before
    path = node.module_path.replace(node.release, other)
    assert node.says(f"modinfo -F vermagic {path}").startswith(f"{other} ")
    assert {*node.demanded(path)} == {*node.demanded()}
    assert node.rests(**node.said(SECOND))
    # As a package of a kernel would go, which leaves what is not its own.
    node.says(
        f"cd /lib/modules/{other}; find . -mindepth 1 -maxdepth 1 -not -name extra "
        f"-exec rm -r {{}} +; rm -r /usr/src/linux-headers-{other}; rm {LOAD}"
    )
    changes = node.converged(**node.said(SECOND))
    assert f"remove the package {package('1.3-0', other)}" in changes
    assert packaged(node) == f"{package('1.3-0', node.release)}.x86_64"
    assert node.says("ls /lib/modules") == node.release
    assert node.fits(SECOND)
    assert node.rests(**node.said(SECOND))


def test_without_a_route_the_host_is_as_it_was(node):
    said = node.said(SECOND, gpunode_peer_memory_route="none")
    changes = node.converged(**said)
    assert f"remove the package {package('1.3-0', node.release)}" in changes
    assert packaged(node) == NOTHING
    assert node.says(LEFT) == f"{OFED}/include/rdma/peer_mem.h"
    assert node.rests(**said)


def test_a_package_that_another_one_installed_is_refused(node):
    node.converged(**node.said(SECOND))
    node.put(
        "/root/other/other.spec",
        f"Name: {PACKAGE}\nVersion: 1.1\nRelease: 9\nLicense: GPL\nSummary: of its vendor\n"
        "%description\nOf its vendor.\n%install\n"
        f"install -D {node.module_path} %{{buildroot}}{node.module_path}\n"
        f"%files\n{node.module_path}\n",
    )
    node.says(
        "cd /root/other; rpmbuild -bb --quiet --define '_topdir /root/other' other.spec; "
        "rpm --upgrade --nodeps --oldpackage RPMS/*/*.rpm"
    )
    for route in ("nv_peer_mem", "none"):
        says = node.refused(**node.said(SECOND, gpunode_peer_memory_route=route))
        assert f"{node.module_path}: it belongs to a package that gpunode has not" in says
    assert packaged(node) == f"{PACKAGE}-1.1-9.x86_64"
