"""Packages of RDMA stacks: whose they are, and how one stack's are kept from another's."""

from __future__ import annotations

import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import package_sets
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import package_manager
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ofed-scripts", "24.10.OFED.24.10.1.1.4-1"),
        ("mlnx-ofed-kernel-dkms", "24.10.OFED.24.10.1.1.4.1-1"),
        ("rdma-core", "2410mlnx54-1.2410114"),
        ("perftest", "24.10.0-0.65.g9093bae.2410114"),
        ("kmod-iser", "24.10-OFED.24.10.1.1.4.1.rhel9u4"),
        ("doca-ofed", "3.2.0-125000"),
        # Those of Enterprise Linux: the bundle of 24.10, and DOCA 3.2.1.
        ("rdma-core", "2410mlnx54-1.2410068.rhel9u4"),
        ("perftest", "24.10.0-0.95.g370212b.2410218.rhel9u5"),
        ("perftest", "25.10.0-0.134.g8aff167"),
        ("opensm", "5.25.1.MLNX20251030.e3791a47-0.1.2510122"),
        ("libibverbs", "2510.0.11-1.el10"),
        ("mft-mlx5", "4.34.1-10"),
        ("virtiofs-dkms", "25.10-OFED.25.10.1.7.1.1.el10"),
        ("mlnxofed-docs", "25.10-1.7.1.0"),
        # Canonical's.
        ("doca-ofed-26.01-dkms", "26.01.1.0.0.0.609.1-0ubuntu2"),
        ("linux-modules-doca-ofed-3.4-generic", "7.0.0-31.31+2"),
        ("linux-main-modules-doca-ofed-26.01-7.0.0-29-generic", "7.0.0-29.29"),
    ],
)
def test_a_package_is_a_vendors_by_its_name_or_its_version(name, version):
    assert package_sets.is_vendors(name, version)


@pytest.mark.parametrize(
    ("name", "is_so"),
    [
        ("doca-ofed-26.01-dkms", True),
        ("doca-ofed-3.4-dkms", True),
        ("linux-modules-doca-ofed-26.01-unsigned-generic-hwe-26.04", True),
        ("linux-main-modules-doca-ofed-26.01-7.0.0-1004-azure-fde", True),
        ("doca-ofed-azure-fde", True),
        ("doca-ofed-userspace-3.4", True),
        ("doca-ofed", False),
        ("doca-ofed-userspace", False),
        ("doca-roce", False),
        ("linux-modules-extra-7.0.0-31-generic", False),
    ],
)
def test_what_canonical_packages_of_doca_is_told_from_what_nvidia_does(name, is_so):
    assert package_sets.is_canonicals(name) is is_so


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("rdma-core", "44.0-2"),
        ("perftest", "4.5+0.17-1"),
        ("libibverbs1", "50.0-2ubuntu0.2"),
        ("libibverbs", "61.0-2.el9"),
        ("perftest", "4.5.0.20-4.el9"),
        ("opensm", "3.3.24-8.el9"),
        ("srp_daemon", "61.0-2.el9"),
    ],
)
def test_one_of_the_distribution_is_none(name, version):
    assert not package_sets.is_vendors(name, version)


def test_what_was_half_installed_is_found(tmp_path):
    rows = [
        "Package: rdma-core\nStatus: install ok installed\nVersion: 44.0-2\n",
        "Package: mlnx-ofed-kernel-dkms\nStatus: install ok half-configured\nVersion: 24.10\n",
        "Package: ofed-scripts\nStatus: deinstall ok config-files\nVersion: 24.10\n",
    ]
    tree = planted(tmp_path, {"/var/lib/dpkg/status": "\n".join(rows)})
    assert package_sets.of_vendor(tree) == ["mlnx-ofed-kernel-dkms"]


def foreseeing(monkeypatch, *removed):
    monkeypatch.setattr(package_manager, "managers_own", package_manager.Apt)
    told = "".join(f"Remv {name} [1]\n" for name in removed)
    return lambda argv, _environment: subprocess.CompletedProcess(argv, 0, told, "")


def test_what_stands_on_packages_that_give_way_is_refused_by_name(monkeypatch):
    execute = foreseeing(monkeypatch, "libibverbs1", "librdmacm1", "render-farm", "qemu")
    with pytest.raises(Refusal, match="give way: render-farm, qemu"):
        package_sets.refuse_dependants("install it", ["libibverbs1"], execute)


def test_what_is_of_a_stack_itself_may_go(monkeypatch):
    execute = foreseeing(monkeypatch, "libibverbs1", "librdmacm1", "perftest")
    package_sets.refuse_dependants("install it", ["libibverbs1"], execute)


def test_a_vendors_packages_stay_and_the_distributions_do_not_come():
    (file,) = package_sets.held(
        "apt", {"rdma-core": "2410mlnx54-1", "perftest": "24.10"}, None
    ).values()
    assert file.text.endswith(
        "Package: perftest\nPin: version 24.10\nPin-Priority: 990\n\n"
        "Package: rdma-core\nPin: version 2410mlnx54-1\nPin-Priority: 990\n\n"
        "Package: perftest rdma-core\nPin: version *\nPin-Priority: -1\n\n"
        "Package: dkms\nPin: release l=DOCA-HOST*\nPin-Priority: -1\n"
    )


def test_a_vendors_packages_do_not_come_in_place_of_the_distributions():
    files = package_sets.kept_out("apt", ["rdma-core"], None)
    assert len(files) == 1
    file = next(iter(files.values()))
    assert file.text.endswith(
        "Package: rdma-core\nPin: version *mlnx*\nPin-Priority: -1\n\n"
        "Package: rdma-core\nPin: version [0-9][0-9][0-9][0-9].*\nPin-Priority: -1\n"
    )


def test_what_comes_is_of_rdma_stacks_alone_and_passes_what_is_held():
    records = package_sets.coming({"rdma-core": "2510.0.11-1", "ucx": "1.19-1", "dkms": "4-1"})
    assert "\n".join(records) == (
        "Package: rdma-core\nPin: version 2510.0.11-1\nPin-Priority: 1001\n\n"
        "Package: rdma-core\nPin: version *\nPin-Priority: -1\n\n"
        "Package: dkms\nPin: release l=DOCA-HOST*\nPin-Priority: -1\n"
    )


@pytest.mark.parametrize(
    ("version", "is_so"),
    [("44.0-2", False), ("2410mlnx54-1.2410068", True), ("2510.0.11-1", True)],
)
def test_a_version_tells_whose_a_shared_name_is(version, is_so):
    assert package_sets.is_vendors("rdma-core", version) is is_so


def test_dnf_holds_them_by_its_list_beside_the_drivers():
    drivers = "# gpunode: NVIDIA driver\nnvidia-driver-3:580-1.*\n# gpunode: end\n"
    (file,) = package_sets.held("dnf", {"rdma-core": "2410mlnx54-1"}, drivers).values()
    ours = "# gpunode: RDMA stack\nrdma-core-0:2410mlnx54-1.*\n# gpunode: end\n"
    assert file.text == drivers + ours
    (file,) = package_sets.kept_out("dnf", [], file.text).values()
    assert file.text == drivers
