"""Live proofs of peer memory: one module at most, loaded at boot and now, and registered."""

from __future__ import annotations

import pytest

MODULES = ("nv_peer_mem", "nvidia_peermem")


@pytest.fixture
def route(wanted):
    """The route that the host is to have; what auto comes to is for the plan to prove."""
    found = [item["route"] for item in wanted.get("peer_memory", [])]
    if not found or found[0] == "auto":
        pytest.skip("no route of peer memory is said for this host")
    return found[0]


def test_no_other_module_is_loaded_now_or_at_boot(host, route):
    at_boot = host.check_output(
        "cat /etc/modules /etc/modules-load.d/*.conf 2>/dev/null | grep -v '^[#;]'; true"
    )
    named = at_boot.replace("-", "_").split()
    loaded = [line.split()[0] for line in host.file("/proc/modules").content_string.splitlines()]
    assert set(MODULES).intersection(named) == {route}.intersection(MODULES)
    assert set(MODULES).intersection(loaded) <= {route}


def test_the_module_that_is_loaded_has_registered_with_the_rdma_core(host, route):
    if route not in MODULES:
        pytest.skip(f"route {route} has no module")
    if not host.file("/proc/driver/nvidia/version").exists:
        pytest.skip("no driver is loaded: this host has no kernel of its own, or no GPU")
    assert host.file(f"/sys/module/{route}").exists
    assert host.check_output("ls /sys/kernel/mm/memory_peers")
