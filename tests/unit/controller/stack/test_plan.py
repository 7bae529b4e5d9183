"""The plan of a GPU stack: every real combination's verdict, and what holds for any host."""

from __future__ import annotations

import json
import re
import types

import combinations
import gpu_hosts
import hosts
import pytest
from hypothesis import HealthCheck, given, settings

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import planner, report
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    case,
    notices,
    refusals,
    selection,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    due as stack_due,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan as stack_plan,
)

TODAY = "2026-11"
ORDER = list(stack_due.RULES)
# More than five thousand hosts a full run, all properties together.
MANY = settings(
    max_examples=9 * settings.default.max_examples,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
MORE = settings(MANY, max_examples=25 * settings.default.max_examples)
FEWER = settings(MANY, max_examples=3 * settings.default.max_examples)
NO_WISH = {"steps": [], "notices": []}


def planned(wanted, facts, needs=()):
    return stack_plan.plan(wanted, facts, gpu_hosts.KNOWN, needs, TODAY)


def plan_of(row):
    """Return the plan of a row of combinations.yml, as an operator's variables ask for it."""
    try:
        wanted = combinations.stack_of(row)
    except Refusal as refusal:
        return {**NO_WISH, "refusals": [refusal]}
    return planned(wanted, combinations.facts_of(row), row["wanted"].get("needs", ()))


def verdict_of(plan):
    """Return the verdict of a plan, with the keys that a row may have."""
    status = "refused" if plan["refusals"] else "changes" if plan["steps"] else "converged"
    due = {step["component"]: set(step["rules"]) for step in plan["steps"]}
    # A row tells a reboot that is due today; one that a change will need is told by `reboot`.
    due = {name: rules - {"takes-effect-by-reboot"} for name, rules in due.items()}
    return {
        "status": status,
        "refusals": {refusal.rule for refusal in plan["refusals"]},
        "due": {name: rules for name, rules in due.items() if rules},
        "reboot": any(step["component"] == "reboot" for step in plan["steps"]),
        "consent": {name for step in plan["steps"] for name in step["consent"]},
    }


def whole(plan):
    """Return the plan of a host of which the GPU stack is all that is wanted."""
    return {
        **planner.plan({}, {}, plan["refusals"], steps=plan["steps"]),
        "wanted": {},
        "unwanted": {},
        "address": "",
        "stack": {"name": "", "steps": plan["steps"], "notices": plan["notices"]},
    }


def text_of(plan):
    """Return what people are told of a plan."""
    return report.as_text({"host": whole(plan)}, [])


def expected_of(row):
    verdict = dict(row["verdict"])
    verdict.pop("notices", None)
    for key in {"refusals", "consent"} & verdict.keys():
        verdict[key] = set(verdict[key])
    if "due" in verdict:
        verdict["due"] = {name: set(rules) for name, rules in verdict["due"].items()}
    return verdict


@pytest.mark.parametrize("row", combinations.ROWS, ids=lambda row: row["claim"])
def test_a_real_combination_has_the_right_verdict(row):
    plan = plan_of(row)
    found, expected = verdict_of(plan), expected_of(row)
    assert {key: found[key] for key in expected} == expected, text_of(plan)
    assert set(row["verdict"].get("notices", ())) <= {notice["rule"] for notice in plan["notices"]}
    missing = [words for words in row.get("says", ()) if words not in text_of(plan)]
    assert missing == [], text_of(plan)


# NVIDIA GPU Memory Error Management, "Recovery action flag": it is set after such errors.
@pytest.mark.parametrize(("action", "is_told"), [("", True), ("None", False), ("Reset", False)])
def test_errors_that_were_not_corrected_are_told_where_the_driver_says_nothing_of_them(
    action, is_told
):
    facts = combinations.facts_of(combinations.BASES["debian12-h100-r580"])
    facts["nvidia_smi"]["gpus"][0].update(ecc_uncorrected=3, recovery_action=action)
    wanted = selection.resolve({"stack": "r580"}, gpu_hosts.KNOWN)
    said = [notice["says"] for notice in planned(wanted, facts)["notices"]]
    assert any("could not be corrected" in words for words in said) is is_told


def test_a_module_that_is_held_is_no_news_where_no_other_one_is_to_be_loaded():
    held = [{"name": "nvidia", "permanent": True, "above": [], "clients": []}]
    rules = [
        {
            notice["rule"]
            for notice in plan_of(
                {
                    "base": "debian12-h100-r580",
                    "facts": {"held_modules": held},
                    "wanted": {"gpunode_stack": stack, "gpunode_consent": ["stop_gpu_clients"]},
                }
            )["notices"]
        }
        for stack in ("r580", "r595")
    ]
    assert ["module-in-use" in found for found in rules] == [False, True]


def test_a_module_that_is_held_is_no_news_where_no_driver_is_wanted():
    seen = types.SimpleNamespace(driver=None, held="gdrdrv stands on nvidia")
    due = {"nvidia_driver": {}, "reboot": {"reboot-pending": "openibd"}}
    assert list(notices.module_in_use(seen, due)) == []


def test_every_rule_is_exercised_by_a_real_combination():
    exercised = {"refusals": set(), "due": set(), "notices": set()}
    for row in combinations.ROWS:
        verdict = row["verdict"]
        exercised["refusals"].update(verdict.get("refusals", ()))
        exercised["due"].update(
            (component, rule)
            for component, rules in verdict.get("due", {}).items()
            for rule in rules
        )
        exercised["notices"].update(verdict.get("notices", ()))
    assert set(refusals.RULES) | {"unknown-stack"} == exercised["refusals"]
    assert {(name, rule) for name, rules in stack_due.RULES.items() for rule in rules} == exercised[
        "due"
    ]
    assert {*notices.RULES, "needs-consent"} == exercised["notices"]


@MANY
@given(gpu_hosts.OPTIONS, gpu_hosts.FACTS, gpu_hosts.NEEDS)
def test_any_host_and_any_wish_have_a_plan_that_json_can_carry(options, facts, needs):
    plan = planned(gpu_hosts.wanted(options), facts, needs)
    plan["refusals"] = [refusal.as_dict() for refusal in plan["refusals"]]
    assert json.loads(json.dumps(plan)) == plan


@MANY
@given(gpu_hosts.OPTIONS, gpu_hosts.FACTS)
def test_steps_come_in_the_order_in_which_they_build_on_each_other(options, facts):
    found = [step["component"] for step in planned(gpu_hosts.wanted(options), facts)["steps"]]
    assert found == [component for component in ORDER if component in found]


@MANY
@given(gpu_hosts.OPTIONS, gpu_hosts.FACTS, gpu_hosts.NEEDS)
def test_a_refused_host_has_no_steps(options, facts, needs):
    plan = planned(gpu_hosts.wanted(options), facts, needs)
    assert not (plan["refusals"] and plan["steps"])


@MORE
@given(gpu_hosts.converged())
def test_a_host_that_is_as_wanted_has_nothing_to_do(host):
    plan = planned(*host)
    assert [str(refusal) for refusal in plan["refusals"]] == []
    assert plan["steps"] == []
    # Nor is anybody told of more than that its branch or its RDMA stack has an age.
    told = {notice["rule"] for notice in plan["notices"]}
    assert told <= {"end-of-life", "unknown-ofed"}


def rdma_of(plan):
    """Return ({rule} of the RDMA stack's step, its consents, sentences of the reboot on RDMA)."""
    steps = {step["component"]: step for step in plan["steps"]}
    step = steps.get("mlnx_ofed", {"rules": [], "consent": []})
    reboot = steps.get("reboot", {"why": []})
    return set(step["rules"]), step["consent"], [why for why in reboot["why"] if "RDMA" in why]


@FEWER
@given(gpu_hosts.OPTIONS, gpu_hosts.FACTS)
def test_rdma_modules_are_exchanged_by_a_restart_or_a_reboot_and_never_by_both(options, facts):
    _rules, consent, reboot = rdma_of(planned(gpu_hosts.wanted(options), facts))
    assert not (consent and reboot)


@FEWER
@given(gpu_hosts.OPTIONS, gpu_hosts.FACTS)
def test_where_nothing_of_rdma_is_loaded_nobody_is_asked_to_have_it_exchanged(options, facts):
    facts["rdma_stack"] |= {"loaded": False, "stale": False}
    plan = planned(gpu_hosts.wanted(options), facts)
    _rules, consent, reboot = rdma_of(plan)
    assert (consent, reboot) == ([], [])
    assert all(step["component"] != "mlnx_ofed" or not step["interrupts"] for step in plan["steps"])


@FEWER
@given(gpu_hosts.OPTIONS, gpu_hosts.FACTS)
def test_once_the_rdma_stack_is_on_disk_what_is_left_follows_from_what_is_loaded(options, facts):
    wanted = gpu_hosts.wanted(options)
    if not wanted["ofed"]:
        return
    releases = [row["release"] for row in facts["kernels"]]
    kind, version = wanted["ofed"]["kind"], wanted["ofed"]["version"]
    there = {"kind": kind, "version": version, "kernels": [] if kind == "inbox" else releases}
    for stale in (False, True):
        facts["rdma_stack"] = {**there, "loaded": True, "stale": stale}
        plan = planned(wanted, facts)
        rules, consent, reboot = rdma_of(plan)
        is_left = stale and facts["own_kernel"] and not plan["refusals"]
        assert bool(rules or reboot) == is_left
        assert rules <= {"other-loaded"}
        assert consent == ["restart_openibd"] * len(rules)
        assert set(consent) <= set(wanted["consent"])


def test_a_fleet_of_two_thousand_composed_hosts_is_read_at_a_glance():
    debian = {"own_kernel": True, "distribution": "Debian", "distribution_major_version": "12"}
    wanted = selection.resolve({"stack": "r535"}, gpu_hosts.KNOWN)
    kinds = [
        whole(planned(wanted, {**hosts.load(name)["facts"], **debian})) for name in hosts.NAMES
    ]
    fleet = {f"gpu{number}": kinds[number % len(kinds)] for number in range(2000)}
    text = report.as_text(fleet, [])
    assert len(text.splitlines()) < 100
    assert sum(int(count) for count in re.findall(r"^(\d+) hosts ", text, re.MULTILINE)) == 2000
    document = json.loads(json.dumps(report.as_document(fleet, [])))
    assert document["status"] == "refused"
    statuses = {plan["status"] for plan in document["hosts"].values()}
    assert (len(document["hosts"]), statuses) == (2000, {"refused", "changes", "converged"})


def test_a_module_of_another_branch_for_the_next_kernel_is_no_match_for_the_libraries():
    facts = combinations.facts_of(combinations.BASES["debian12-h100-r580"])
    (running,) = facts["kernels"]
    upcoming = {**running, "release": "6.1.0-41-amd64", "running": False}
    module = {**facts["driver"]["modules"][0], "kernel": "6.1.0-41-amd64", "version": "535.261.03"}
    facts["kernels"] = [upcoming, {**running, "next": False}]
    facts["driver"]["modules"].append(module)
    plan = planned(selection.resolve({"stack": "r580"}, gpu_hosts.KNOWN), facts)
    assert verdict_of(plan)["due"] == {"nvidia_driver": {"libraries-mismatch"}}
    assert "6.1.0-41-amd64 is 535.261.03" in text_of(plan)


def test_a_module_that_stays_loaded_after_its_driver_was_removed_takes_a_reboot():
    facts = combinations.facts_of(combinations.BASES["debian12-h100-r580"])
    facts["packages"] = []
    facts["driver"] |= {"modules": [], "dkms": [], "libraries": []}
    plan = planned(selection.resolve({"stack": "r580"}, gpu_hosts.KNOWN), facts)
    assert verdict_of(plan)["due"] == {"nvidia_driver": {"not-installed"}}
    assert verdict_of(plan)["reboot"]


def test_an_rdma_stack_that_is_half_installed_is_finished():
    facts = combinations.facts_of(combinations.BASES["debian12-h100-doca"])
    facts["rdma_stack"] = {"kind": "doca", "version": ""}
    options = {"ofed_kind": "doca", "ofed_version": "24.10-1.1.4.0"}
    plan = planned(selection.resolve(options, gpu_hosts.KNOWN), facts)
    assert verdict_of(plan)["due"] == {"mlnx_ofed": {"other-version"}}
    assert "doca -> doca 24.10-1.1.4.0" in text_of(plan)


def test_the_rdma_stack_comes_before_the_driver_and_peer_memory_after_both():
    assert ORDER == ["mlnx_ofed", "nvidia_driver", "vgpu_license", "peer_memory", "reboot"]


def test_facts_of_a_version_that_knew_no_gpus_are_those_of_a_host_that_has_none():
    assert case.completed({}) == case.EMPTY


@pytest.mark.parametrize(
    ("key", "value"), [("gpus", {}), ("driver", []), ("own_kernel", "yes"), ("rdma_stack", None)]
)
def test_a_fact_of_another_type_is_as_good_as_none(key, value):
    assert case.completed({key: value})[key] == case.EMPTY[key]


def test_what_facts_say_is_kept_and_what_they_lack_within_is_added():
    found = case.completed({"driver": {"runfile": "535.161.08"}, "paths": {}})
    assert found["driver"] == {**case.EMPTY["driver"], "runfile": "535.161.08"}
    assert found["paths"] == {}


def test_nothing_is_planned_where_nothing_is_wanted():
    row = next(row for row in combinations.ROWS if row["base"] == "debian12-h100")
    assert planned(selection.NOTHING, combinations.facts_of(row)) == {
        "steps": [],
        "refusals": [],
        "notices": [],
        "inapplicable": ORDER,
    }


def test_an_environment_is_held_against_the_driver_though_no_stack_is_wanted():
    facts = combinations.facts_of(combinations.BASES["el7-v100-r440"])
    needs = [{"by": "environment web", "cuda": "12.4", "pytorch": ""}]
    (refusal,) = planned(selection.NOTHING, facts, needs)["refusals"]
    assert refusal.rule == "cuda-needs-newer-driver"
    assert "this host has 440.33.01" in refusal.because
