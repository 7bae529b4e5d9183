"""The plan's action: what is not decided by the host's facts alone."""

from __future__ import annotations

from types import SimpleNamespace

import combinations
import pytest

from ansible_collections.gpunode.stack.plugins.action import plan as action_plan
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state

BASE = "debian12-h100-r580"
VERSION = "580.95.05"


@pytest.fixture
def planned(monkeypatch):
    """Return a function that plans a host with these facts and variables over a connection."""

    def run(facts, transport="ssh", **variables):
        action = object.__new__(action_plan.ActionModule)
        site = wanted_state.Site(variables, "/")
        task = SimpleNamespace(args={}, check_mode=False)
        answer = {"gpunode_facts": {**facts, "receipts": {}}}
        for name, value in {
            "_task": task,
            "_templar": SimpleNamespace(template=lambda value: value),
            "_connection": SimpleNamespace(transport=transport),
            "validate_argument_spec": lambda _spec: (
                None,
                {"expect_converged": False, "components": []},
            ),
            "_execute_module": lambda *_arguments, **_options: answer,
        }.items():
            monkeypatch.setattr(action, name, value, raising=False)
        monkeypatch.setattr(action_plan.ActionBase, "run", lambda *_arguments: {})
        monkeypatch.setattr(action_plan.wanted_state, "site_of", lambda *_arguments: site)
        return action.run(None, {})

    return run


@pytest.fixture
def waiting():
    """The facts of a host whose driver on disk waits for a reboot."""
    facts = combinations.facts_of(combinations.BASES[BASE])
    facts["driver"]["loaded"]["version"] = "580.82.07"
    return facts


def rules(answer):
    return [row["rule"] for row in answer["plan"]["stack"]["notices"]]


def test_a_host_is_rebooted_and_the_controller_never_is(planned, waiting):
    said = {"gpunode_stack": "r580", "gpunode_consent": ["reboot"]}
    assert "reboot" in planned(waiting, **said)["due"]
    answer = planned(waiting, transport="local", **said)
    assert "reboot" not in answer["due"]
    assert "controller" in rules(answer)


def test_a_driver_that_was_removed_and_is_still_loaded_is_told_and_nothing_else(planned, waiting):
    waiting["driver"] |= {"modules": [], "dkms": [], "libraries": [], "runfile": ""}
    waiting["packages"] = []
    answer = planned(waiting, nvidia_driver_state="absent", gpunode_consent=["reboot"])
    assert rules(answer) == ["left-loaded"]
    assert "reboot" not in answer["due"]
    waiting["driver"]["loaded"]["version"] = ""
    assert rules(planned(waiting, nvidia_driver_state="absent")) == []
