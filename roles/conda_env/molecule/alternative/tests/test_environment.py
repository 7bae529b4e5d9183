"""The environment holds what its lock and its requirements say, and all options show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

LINK = "/srv/envs/web"


@pytest.fixture
def site(host):
    """The variables of the host."""
    return host.backend.get_variables()


def test_it_holds_the_packages_of_the_lock_and_no_other(host, site):
    lines = Path(site["lab_locks"]["md5"]).read_text(encoding="utf-8").splitlines()
    locked = {
        line.partition("#")[0].rpartition("/")[2].removesuffix(".conda").removesuffix(".tar.bz2")
        for line in lines
        if "://" in line and not line.startswith("#")
    }
    records = host.check_output(f"ls {LINK}/conda-meta").split()
    assert {name.removesuffix(".json") for name in records if name.endswith(".json")} == locked


def test_it_holds_the_distribution_of_the_requirements(host):
    python = f"{LINK}/bin/python"
    assert host.check_output(f"{python} -c 'import six; print(six.__version__)'") == "1.17.0"
    assert host.check_output(f"{python} -m pip check") == "No broken requirements found."


def test_its_packages_came_from_the_mirror(host, site):
    mirror = site.get("miniforge_default_channels", [site["lab_channel_url"]])[0]
    record = host.check_output(f"cat {LINK}/conda-meta/flask-*.json")
    assert json.loads(record)["url"].startswith(f"{mirror}/")


def test_it_is_the_one_build_and_lies_where_it_was_asked_for(host):
    names = host.check_output("ls /srv/envs").split()
    assert len(names) == 2
    assert host.file(LINK).linked_to.startswith(f"{LINK}-")
    assert not host.file("/opt/gpunode").exists


def test_the_distribution_s_package_is_there(host):
    assert host.package("libgomp1").is_installed
