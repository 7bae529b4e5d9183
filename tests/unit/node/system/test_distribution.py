"""How others call the distribution of a host."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import distribution


def facts(name, version):
    return {
        "distribution": name,
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
    }


@pytest.mark.parametrize(
    ("name", "version", "written"),
    [
        ("CentOS", "7.9", "RedHat 7"),
        ("Rocky", "9.4", "RedHat 9"),
        ("Ubuntu", "22.04", "Ubuntu 22.04"),
        ("Debian", "12.5", "Debian 12"),
    ],
)
def test_a_distribution_is_named_as_the_catalog_names_it(name, version, written):
    assert distribution.catalog_name(facts(name, version)) == written


@pytest.mark.parametrize(
    ("name", "version", "written"),
    [
        ("CentOS", "7.3", "rhel7.3"),
        ("RedHat", "9.4", "rhel9.4"),
        ("Rocky", "8.6", "rhel8.6"),
        ("Ubuntu", "22.04", "ubuntu22.04"),
        ("Debian", "12.5", "debian12.5"),
        ("", "", ""),
    ],
)
def test_a_distribution_is_written_as_its_bundles_are_called(name, version, written):
    assert distribution.mellanox_name(facts(name, version)) == written
