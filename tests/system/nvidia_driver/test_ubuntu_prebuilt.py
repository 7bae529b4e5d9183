"""Modules that Canonical has built and signed, on nodes shaped as each release of Ubuntu."""

from __future__ import annotations

import functools

import pytest

from lab.shapes import ubuntu
from system.nvidia_driver import driver_runs, ubuntu_host

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND, OTHER_BRANCH = "580.95.05", "580.126.20", "595.58.03"
BY_HAND = (
    "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends linux-generic "
    "nvidia-headless-no-dkms-580-server nvidia-utils-580-server "
    "linux-modules-nvidia-580-server-generic"
)
as_predicted = functools.partial(driver_runs.as_predicted, node=NODE)


@pytest.fixture(scope="module", params=ubuntu.SHAPES)
def host(lab, request):
    with ubuntu_host.shaped(lab, NODE, request.param) as made:
        yield made


@pytest.fixture(scope="module")
def next_kernel(host):
    """The release of a kernel that arrives: that of the host's, of a later build."""
    number, build, flavour = host.release.split("-")
    return f"{number}-{int(build) + 2}-{flavour}"


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        said = {"gpunode_stack": "r580", "gpunode_driver_modules": "proprietary", **variables}
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **said)

    return run


def built(host):
    """Return {kernel: (version, licence)} of the modules that came built."""
    found = {}
    for path in host.says("ls /lib/modules/*/kernel/nvidia-*/nvidia.ko || true").split():
        told = [host.says(f"modinfo -F {field} {path}") for field in ("version", "license")]
        found[path.split("/")[3]] = tuple(told)
    return found


def has_dkms(host):
    return bool(host.says("dkms status; ls -d /usr/src/nvidia-*/dkms.conf 2>/dev/null || true"))


def modules(host):
    """Return the names of the installed packages of modules."""
    return {name for name in host.versions() if name.startswith("linux-modules-nvidia-")}


def test_a_host_that_has_them_keeps_them_and_they_are_told_and_held_with_the_driver(converge, host):
    host.publish(FIRST, kernels=[host.release], built=[(FIRST, host.release, "proprietary")])
    host.says(BY_HAND, timeout_s=300)
    before = host.versions()
    as_predicted(converge)
    assert host.versions() == before
    assert built(host) == {host.release: (FIRST, "NVIDIA")}
    assert not has_dkms(host)
    assert driver_runs.is_settled(converge(), NODE)


def test_the_kind_is_changed_with_the_modules(converge, host):
    host.publish(
        FIRST,
        kernels=[host.release],
        built=[(FIRST, host.release, kind) for kind in ("proprietary", "open")],
    )
    told = " ".join(as_predicted(converge, gpunode_driver_modules="open"))
    assert "that the distribution has built and signed: the host has such modules" in told
    assert built(host) == {host.release: (FIRST, "Dual MIT/GPL")}
    assert modules(host) == {
        f"linux-modules-nvidia-580-server-open-{end}" for end in (host.release, "generic")
    }
    as_predicted(converge)
    assert built(host) == {host.release: (FIRST, "NVIDIA")}


def test_a_kernel_that_arrives_brings_its_modules_by_the_metapackage(converge, host, next_kernel):
    kernels = [host.release, next_kernel]
    host.add_kernel(next_kernel)
    host.says(f"touch /boot/vmlinuz-{next_kernel}")
    host.publish(FIRST, kernels=kernels, built=[(FIRST, name, "proprietary") for name in kernels])
    # unattended-upgrades does the same: dist-upgrade within apt's candidates.
    host.says("DEBIAN_FRONTEND=noninteractive apt-get -q -y dist-upgrade", timeout_s=300)
    assert built(host) == dict.fromkeys(kernels, (FIRST, "NVIDIA"))
    assert converge().status == 0
    assert driver_runs.is_settled(converge(), NODE)


def test_a_kernel_without_its_modules_gets_them_and_nothing_else_is_touched(
    converge, host, next_kernel
):
    before = host.versions()
    name = f"linux-modules-nvidia-580-server-{next_kernel}"
    host.says(f"dpkg --force-depends --purge {name} {name.replace('modules', 'objects', 1)}")
    told = as_predicted(converge)
    assert told == [f"install the modules of {FIRST} for kernel {next_kernel}"]
    assert host.versions() == before


def test_a_change_of_branch_is_not_refused_as_touching_the_kernel(converge, host, next_kernel):
    kernels = [host.release, next_kernel]
    drivers = (FIRST, OTHER_BRANCH)
    host.publish(
        *drivers,
        kernels=kernels,
        built=[(driver, name, "proprietary") for driver in drivers for name in kernels],
    )
    for stack, driver in (("r595", OTHER_BRANCH), ("r580", FIRST)):
        as_predicted(converge, gpunode_stack=stack)
        assert built(host) == dict.fromkeys(kernels, (driver, "NVIDIA"))
        assert {name.split("-")[3] for name in modules(host)} == {driver[:3]}
        assert driver_runs.is_settled(converge(gpunode_stack=stack), NODE)


def test_removal_takes_the_modules_and_leaves_the_kernels(converge, host):
    gone = {"nvidia_driver_state": "absent"}
    as_predicted(converge, **gone)
    assert (host.versions(), built(host)) == ({}, {})
    assert "linux-image-generic" in host.says("dpkg-query -W -f '${Package}\\n' 'linux-image-*'")
    assert driver_runs.is_settled(converge(**gone), NODE)
