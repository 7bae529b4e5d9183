"""conda where it is looked for, at its own defaults but for the lab's addresses."""

from __future__ import annotations

import json

import pytest

PREFIX = "/opt/miniforge3"


@pytest.fixture
def site(host):
    """The variables of the host."""
    return host.backend.get_variables()


def test_conda_answers_with_the_version_of_the_installer(host, site):
    version = site["miniforge_version"].partition("-")[0]
    assert host.check_output(f"{PREFIX}/bin/conda --version") == f"conda {version}"


def test_conda_finds_packages_on_its_channels(host):
    found = json.loads(host.check_output(f"{PREFIX}/bin/conda search --json flask"))
    assert {package["name"] for package in found["flask"]} == {"flask"}


def test_everybody_reads_the_configuration_and_root_alone_writes_it(host):
    for name in (".condarc", "pip.conf"):
        file = host.file(f"{PREFIX}/{name}")
        assert (file.user, file.group, file.mode) == ("root", "root", 0o644)


def test_no_certificates_were_handed_over(host):
    assert not host.file("/etc/gpunode").exists
