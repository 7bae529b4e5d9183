"""conda and pip as all options together make them."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from lab import proxy
from lab.paths import CHECKOUT, LabPaths

PREFIX = "/srv/conda"


@pytest.fixture
def site(host):
    """The variables of the host."""
    return host.backend.get_variables()


@pytest.fixture
def configured(host):
    """conda's own view of its configuration."""
    with host.sudo():
        return json.loads(host.check_output(f"{PREFIX}/bin/conda config --show --json"))


def address_of(channel):
    """Return the URL of a channel as conda shows one."""
    return f"{channel['scheme']}://{channel['location']}/{channel['name']}"


def test_conda_answers_where_it_was_asked_for_and_nowhere_else(host, site):
    version = site["miniforge_version"].partition("-")[0]
    with host.sudo():
        assert host.check_output(f"{PREFIX}/bin/conda --version") == f"conda {version}"
    assert not host.file("/opt/miniforge3").exists


def test_conda_finds_packages_through_the_proxy(host, site):
    log = proxy.log(LabPaths.of(CHECKOUT).state)
    before = len(log.read_text())
    with host.sudo():
        host.run(f"{PREFIX}/bin/conda clean --yes --index-cache")
        found = json.loads(host.check_output(f"{PREFIX}/bin/conda search --json flask"))
    assert "flask" in found
    lines = [line for line in log.read_text()[before:].splitlines() if site["ansible_host"] in line]
    assert any(urlsplit(site["lab_channel_url"]).hostname in line for line in lines)


def test_conda_knows_channels_by_the_addresses_that_were_given(configured, site):
    assert configured["channels"] == ["defaults", "conda-forge"]
    assert address_of(configured["default_channels"][0]) == site["lab_channel_url"]
    assert address_of(configured["custom_channels"]["conda-forge"]) == site["lab_channel_url"]
    assert configured["channel_alias"]["location"] == "mirror.example/conda"


def test_conda_trusts_the_bundle_and_goes_through_the_proxy(configured, site):
    assert configured["ssl_verify"] == "/etc/ssl/certs/ca-certificates.crt"
    assert set(configured["proxy_servers"]) == {"http", "https"}


def test_pip_asks_the_indexes_through_the_proxy(host, site):
    with host.sudo():
        settings = host.check_output(f"{PREFIX}/bin/python -m pip config list")
    for line in (
        "global.index-url='https://mirror.example/pypi/simple'",
        "global.extra-index-url='https://mirror.example/extra/simple'",
        "global.cert='/etc/ssl/certs/ca-certificates.crt'",
        f"global.proxy='{site['lab_proxy']}'",
    ):
        assert line in settings.splitlines()


def test_root_alone_reads_what_carries_the_password(host):
    for name in (".condarc", "pip.conf"):
        assert host.file(f"{PREFIX}/{name}").mode == 0o600
