"""Which bundle of MLNX_OFED is for a distribution, and whether DOCA-OFED is the wanted one."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import ofed_release
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import stack_catalog

RELEASE = stack_catalog.of_project().ofed("5.8-1.0.1.1")
FOLDER = "https://content.mellanox.com/ofed/MLNX_OFED-5.8-1.0.1.1"


def facts(name, version):
    return {"distribution": name, "distribution_version": version}


def test_a_bundle_comes_with_its_digest_where_one_is_published():
    url, sha256 = ofed_release.bundle(RELEASE, facts("Rocky", "8.6"))
    assert url == f"{FOLDER}/MLNX_OFED_LINUX-5.8-1.0.1.1-rhel8.6-x86_64.tgz"
    assert sha256 == "f340317047cc815b0f41c3f3c52d2d83ddc7d81b29d9fff91abb859850f77945"


def test_a_bundle_for_another_distribution_has_an_address_alone():
    url, sha256 = ofed_release.bundle(RELEASE, facts("Ubuntu", "22.04"))
    assert (url, sha256) == (f"{FOLDER}/MLNX_OFED_LINUX-5.8-1.0.1.1-ubuntu22.04-x86_64.tgz", "")


@pytest.mark.parametrize("row", [None, {"version": "24.10", "kind": "doca"}])
def test_a_release_without_a_bundle_has_no_address(row):
    assert ofed_release.bundle(row, facts("Debian", "12.5")) == ("", "")


@pytest.mark.parametrize(
    ("packages", "version"),
    [
        ({"libibverbs1": "50.0-2", "doca-ofed": "3.2.1-044000"}, "3.2.1-044000"),
        (
            {"doca-ofed-3.4-dkms": "3.4.0+0.8.5.0-0ubuntu1~26.04.1"},
            "3.4.0+0.8.5.0-0ubuntu1~26.04.1",
        ),
        ({"doca-ofed-26.01-dkms": "26.01.1.0.0.0.609.1-0ubuntu2"}, "26.01.1.0.0.0.609.1-0ubuntu2"),
        ({"doca-ofed-userspace": "3.2.1-044000", "doca-host": "3.2.1"}, ""),
        ({}, ""),
    ],
)
def test_the_profile_is_nvidias_or_what_ubuntus_archive_has_in_its_place(packages, version):
    assert ofed_release.profile(packages) == version


@pytest.mark.parametrize(
    ("name", "is_so"),
    [
        ("mlnx-ofed-kernel", True),
        ("mlnx-ofa_kernel", True),
        ("doca-ofed-26.01-dkms", True),
        ("doca-ofed-3.4-dkms", True),
        ("mlnx-nvme", False),
        ("nvidia", False),
    ],
)
def test_a_tree_with_the_rdma_core_is_told_by_its_name(name, is_so):
    assert ofed_release.has_core(name) is is_so


@pytest.mark.parametrize(
    ("version", "release", "told", "profile", "is_it"),
    [
        # As Ubuntu's archive has it.
        ("26.01", "3.3", "26.01", "26.01.1.0.0.0.609.1-0ubuntu2", True),
        ("26.04", "3.4", "", "3.4.0+0.8.5.0-0ubuntu1~26.04.1", True),
        ("26.07", "3.5", "", "3.4.0+0.8.5.0-0ubuntu1~26.04.1", False),
        ("25.10", "3.2", "25.10-1.7.1", "3.2.1-044000", True),
        ("25.10-1.7.1", "3.2", "25.10-1.7.1", "3.2.1-044000", True),
        ("25.10-2.4.1", "3.2", "25.10-1.7.1", "3.2.1-044000", False),
        ("25.10", "3.2", "26.01-1.0.0", "3.2.1-044000", False),
        # Nothing tells of it but the release of DOCA, and that of no build.
        ("25.10", "3.2", "", "3.2.1-044000", True),
        ("25.10", "3.2", "", "3.20.1-044000", False),
        ("25.10", "3.2", "", "", False),
        ("25.10-1.7.1", "3.2", "", "3.2.1-044000", False),
        ("27.01", "", "", "", False),
        ("27.01", "", "27.01-0.1.2", "", True),
    ],
)
def test_doca_is_the_wanted_one_by_its_version_else_by_its_release(
    version, release, told, profile, is_it
):
    assert ofed_release.is_doca(version, release, told, profile) is is_it
