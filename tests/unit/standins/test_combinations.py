"""The combinations in standins/combinations.yml: the data itself, whoever judges by it."""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from combinations import BASES, ROWS, RULES, facts_of, merged

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state

# What a host's variables may say of it as a whole, and of the delivery of a part of its stack.
OPTIONS = {
    name: option
    for role in ("preflight", "peer_memory")
    for name, option in wanted_state.options_of(role).items()
    if name.startswith("gpunode_") or name == "peer_memory_delivery"
}
COMPONENTS = {"mlnx_ofed", "nvidia_driver", "vgpu_license", "peer_memory", "reboot"}
CONSENTS = {"reboot", "restart_openibd", "stop_gpu_clients", "change_method", "unenrolled_key"}
VERDICT = {"status", "refusals", "due", "notices", "reboot", "consent"}

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row["claim"])
each_base = pytest.mark.parametrize("name", BASES)


def exercised(kind):
    """Return the rules of a kind that some row's verdict names."""
    if kind == "due":
        return {
            rule
            for row in ROWS
            for rules in row["verdict"].get("due", {}).values()
            for rule in rules
        }
    return {rule for row in ROWS for rule in row["verdict"].get(kind, [])}


def test_there_are_at_least_thirty_rows():
    assert len(ROWS) >= 30


def test_each_claim_is_made_once():
    claims = [row["claim"] for row in ROWS]
    assert len(claims) == len(set(claims))


@each_row
def test_a_row_has_the_parts_of_a_row_and_names_its_source(row):
    needed = {"claim", "source", "base", "wanted", "verdict"}
    assert needed <= set(row) <= needed | {"facts", "says"}
    assert len(row["source"].split()) > 1
    assert row["base"] in BASES


@each_row
def test_a_verdict_is_made_of_known_words(row):
    verdict = row["verdict"]
    assert {"status"} <= set(verdict) <= VERDICT
    assert verdict["status"] in {"converged", "changes", "refused"}
    assert set(verdict.get("due", {})) <= COMPONENTS
    assert set(verdict.get("consent", [])) <= CONSENTS
    assert isinstance(verdict.get("reboot", False), bool)
    assert all(isinstance(text, str) for text in row.get("says", []))


@each_row
def test_a_verdict_does_not_contradict_itself(row):
    verdict = row["verdict"]
    assert (verdict["status"] == "refused") == bool(verdict.get("refusals"))
    if verdict["status"] != "changes":
        assert not verdict.get("due")
        assert not verdict.get("consent")
        assert not verdict.get("reboot")
    elif "due" in verdict:
        assert verdict["due"]
        assert all(verdict["due"].values())
    if {"reboot", "consent"} <= set(verdict):
        assert verdict["reboot"] == ("reboot" in verdict["consent"])
    if set(verdict.get("consent", [])) - set(row["wanted"].get("gpunode_consent", [])):
        assert verdict["status"] == "changes"
    elif "consent" in verdict:
        assert "needs-consent" not in verdict.get("notices", [])


@pytest.mark.parametrize("kind", ["refusals", "due", "notices"])
def test_every_rule_is_exercised_and_no_other_is_named(kind):
    assert exercised(kind) == set(RULES[kind])


@each_row
def test_what_a_row_wants_is_what_a_host_can_want(row):
    wanted = row["wanted"]
    assert {"gpunode_stack"} <= set(wanted)
    said = {name: value for name, value in wanted.items() if name != "needs"}
    assert ArgumentSpecValidator(OPTIONS).validate(said).error_messages == []
    for need in wanted.get("needs", []):
        assert set(need) == {"by", "cuda", "pytorch"}
        assert re.fullmatch(r"\d+\.\d+", need["cuda"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", need["pytorch"])


@each_base
def test_a_base_is_a_whole_host_of_the_right_types(name):
    assert facts_shape.misfits(facts_of(BASES[name]), facts_shape.Facts) == []


@each_row
def test_a_row_is_a_whole_host_of_the_right_types(row):
    assert facts_shape.misfits(facts_of(row), facts_shape.Facts) == []


@each_row
def test_a_host_does_not_contradict_itself(row):
    facts = facts_of(row)
    releases = [kernel["release"] for kernel in facts["kernels"]]
    running = [kernel["release"] for kernel in facts["kernels"] if kernel["running"]]
    addresses = [gpu["address"] for gpu in facts["gpus"] + facts["nvswitches"]]
    assert running == ([facts["kernel"]] if facts["own_kernel"] else [])
    assert sum(kernel["next"] for kernel in facts["kernels"]) == 1
    assert {module["kernel"] for module in facts["driver"]["modules"]} <= set(releases)
    assert len(addresses) == len(set(addresses))
    assert all(
        re.fullmatch("[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}.[0-9a-f]", item) for item in addresses
    )
    assert all(re.fullmatch("[0-9a-f]{4}", gpu["device"]) for gpu in facts["gpus"])
    assert {smi["address"] for smi in facts["nvidia_smi"]["gpus"]} <= set(addresses)
    assert {fault["address"] for fault in facts["gpu_faults"]} <= set(addresses)
    switches = {switch["address"] for switch in facts["nvswitches"]}
    assert {fault["address"] for fault in facts["switch_faults"]} <= switches
    assert facts["nvidia_smi"]["asked"] == bool(facts["driver"]["loaded"]["version"])
    rdma = facts["rdma_stack"]
    assert set(rdma["kernels"]) <= set(releases)
    assert not (rdma["kernels"] and rdma["kind"] == "inbox")
    assert rdma["loaded"] or not (rdma["stale"] or (facts["rdma_devices"] and facts["own_kernel"]))
    assert facts["own_kernel"] or not rdma["loaded"]
    assert facts["packages"] == sorted(facts["packages"], key=lambda package: package["name"])


@each_base
def test_an_answer_of_a_base_lists_every_gpu(name):
    facts = facts_of(BASES[name])
    answer = facts["nvidia_smi"]
    listed = [gpu["address"] for gpu in answer["gpus"]]
    assert listed == ([gpu["address"] for gpu in facts["gpus"]] if answer["answered"] else [])


@each_base
def test_every_base_is_used(name):
    used = {row["base"] for row in ROWS} | {base.get("base") for base in BASES.values()}
    assert name in used


def test_dicts_merge_and_lists_replace():
    under = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    result = merged(under, {"a": {"c": [3]}, "e": 5})
    assert result == {"a": {"b": 1, "c": [3]}, "d": 4, "e": 5}
    result["a"]["c"].append(9)
    assert under == {"a": {"b": 1, "c": [1, 2]}, "d": 4}
