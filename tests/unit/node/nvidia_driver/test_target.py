"""What the wanted driver comes to on one host."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

AMPERE = {"address": "0000:3b:00.0", "driver": "", "architecture": "ampere"}


def target(facts=None, **variables):
    state = wanted_state.Site({"gpunode_stack": "r535", **variables}, "/").wanted("nvidia_driver")
    general = {"distribution": "Debian", "distribution_major_version": "12"}
    return Target(state, {**copy.deepcopy(case.EMPTY), **general, **(facts or {})})


def kernel(release, headers=True, running=False, boots_next=False):
    return {"release": release, "headers": headers, "running": running, "next": boots_next}


def module(release, version="535.1", is_open=False, name="nvidia"):
    return {"kernel": release, "name": name, "version": version, "open": is_open}


def driver(*modules):
    return {**copy.deepcopy(case.EMPTY["driver"]), "modules": list(modules)}


def test_the_kind_of_modules_is_the_plans_own_choice():
    for facts, variables in (
        ({"gpus": [AMPERE]}, {"gpunode_stack": "r580"}),
        ({"gpus": [{**AMPERE, "architecture": "volta"}]}, {"gpunode_stack": "r580"}),
        ({"gpus": [AMPERE]}, {"gpunode_driver_modules": "open"}),
        ({"gpus": [AMPERE]}, {}),
    ):
        here = target(facts, **variables)
        site = wanted_state.Site({"gpunode_stack": "r535", **variables}, "/")
        known = case.Case(
            {**site.stack()},
            {**here.facts, "own_kernel": True},
            wanted_state.stack_catalog.of_project(),
            [],
            "2026-11",
        )
        assert here.module_type == known.driver_to_be.module_type


def test_the_kind_that_is_there_is_kept():
    kernels = [kernel("6.1")]
    facts = {"kernels": kernels, "driver": driver(module("6.1", is_open=True))}
    assert target(facts).module_type == "open"
    facts["driver"] = driver(module("6.1", is_open=True, name="nvidia_uvm"))
    assert target(facts).module_type == "proprietary"


def test_a_gpu_that_is_handed_on_to_a_guest_is_none_of_the_hosts():
    here = target({"gpus": [AMPERE, {**AMPERE, "driver": "vfio-pci"}]})
    assert here.gpus == [AMPERE]


def test_modules_are_built_for_kernels_with_headers_and_missed_by_those_that_run_or_boot():
    kernels = [
        kernel("6.4"),
        kernel("6.3", headers=False),
        kernel("6.2", headers=False, boots_next=True),
        kernel("6.1", headers=False, running=True),
    ]
    here = target({"kernels": kernels, "driver": driver(module("6.3"), module("6.1"))})
    assert here.releases == ["6.4"]
    assert [row["release"] for row in here.without_headers] == ["6.2", "6.1"]
    # A kernel that nobody boots and that nothing can be built for is left alone.
    assert list(here.modules) == ["6.1"]


@pytest.mark.parametrize(
    ("headers", "route", "demanded"),
    [(True, "auto", True), (True, "none", False), (False, "nvidia_peermem", False)],
)
def test_peer_memory_is_demanded_where_the_rdma_stack_was_there_first(headers, route, demanded):
    facts = {"peer_memory": {"headers": headers}}
    assert target(facts, gpunode_peer_memory_route=route).demands == (False, False, demanded)


def test_a_signature_is_demanded_under_secure_boot():
    facts = {"secure_boot": {"enabled": True}}
    assert target(facts).demands[:2] == (False, True)


def test_packages_are_those_of_the_hosts_distribution_and_kind_of_modules():
    assert target().package_row["packages"]["proprietary"][0] == "nvidia-kernel-dkms"
    with pytest.raises(Refusal, match="proprietary modules of it for Debian 11"):
        assert target({"distribution_major_version": "11"}).package_row
    with pytest.raises(Refusal, match="open modules of it for Debian 12"):
        assert target(gpunode_stack="r470", gpunode_driver_modules="open").package_row
