"""Live proofs of the RDMA stack: the wanted one and no other, and its modules in memory."""

from __future__ import annotations

import pytest

_NAMES = {"mlnx_ofed": "MLNX_OFED_LINUX-", "doca": "OFED-internal-"}


@pytest.fixture
def stack(wanted):
    """What the host is to have: kind and version, as the plan says it."""
    found = wanted.get("mlnx_ofed", [])
    if not found:
        pytest.skip("no RDMA stack is said for this host")
    return found[0]


def test_it_is_exactly_the_wanted_version(host, stack):
    told = host.run("ofed_info -s").stdout.strip() if host.exists("ofed_info") else ""
    if stack["kind"] == "inbox":
        assert told == ""
        return
    version = told.removeprefix(_NAMES[stack["kind"]]).rstrip(":")
    # Of DOCA-OFED the series is named alone.
    assert version == stack["version"] or version.startswith(f"{stack['version']}-")


def test_openibd_starts_at_boot(host, stack):
    if stack["kind"] == "inbox":
        pytest.skip("the distribution's own RDMA stack has no openibd")
    assert host.service("openibd").is_enabled


def test_the_core_that_is_loaded_is_the_one_on_disk(host, stack):
    if "ib_core " not in host.file("/proc/modules").content_string:
        pytest.skip("nothing of RDMA is loaded: this host has no kernel of its own, or no adapter")
    path = host.check_output("modinfo --field filename ib_core")
    assert ("/kernel/drivers/" in path) == (stack["kind"] == "inbox")
