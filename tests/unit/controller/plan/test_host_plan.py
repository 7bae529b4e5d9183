"""The plan of one host: what is not decided by one component or by the GPU stack alone."""

from __future__ import annotations

import datetime

import combinations
import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    gunicorn_app,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import (
    host_plan,
    report,
)

LOCK = """\
https://example.org/conda-forge/linux-64/python-3.11.7-h1_0.conda#11111111111111111111111111111111
https://example.org/conda-forge/noarch/gunicorn-23.0.0-py_0.conda#22222222222222222222222222222222
"""
BASE = "debian12-h100-r580"
TODAY = datetime.date(2026, 11, 29)


def wishes(**variables):
    return host_plan.wishes(wanted_state.Site(variables, "/"), variables)


def planned(facts, is_controller=False, receipts=None, **variables):
    seen = {**facts, "receipts": receipts or {}}
    return host_plan.plan(wishes(**variables), seen, is_controller=is_controller, today=TODAY)


@pytest.fixture
def waiting():
    """The facts of a host whose driver on disk waits for a reboot."""
    facts = combinations.facts_of(combinations.BASES[BASE])
    facts["driver"]["loaded"]["version"] = "580.82.07"
    return facts


def rules(answer):
    return [row["rule"] for row in answer["plan"]["stack"]["notices"]]


def test_a_host_is_rebooted_and_the_controller_never_is(waiting):
    said = {"gpunode_stack": "r580", "gpunode_consent": ["reboot"]}
    assert "reboot" in planned(waiting, **said)["due"]
    answer = planned(waiting, is_controller=True, **said)
    assert "reboot" not in answer["due"]
    assert "controller" in rules(answer)


def test_a_driver_that_was_removed_and_is_still_loaded_is_told_and_nothing_else(waiting):
    waiting["driver"] |= {"modules": [], "dkms": [], "libraries": [], "runfile": ""}
    waiting["packages"] = []
    answer = planned(waiting, nvidia_driver_state="absent", gpunode_consent=["reboot"])
    assert rules(answer) == ["left-loaded"]
    assert "reboot" not in answer["due"]
    waiting["driver"]["loaded"]["version"] = ""
    assert rules(planned(waiting, nvidia_driver_state="absent")) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [({}, False), ({"preflight_expect_converged": True}, True), ({"preflight_json": []}, False)],
    ids=["unsaid", "said", "refused"],
)
def test_that_all_was_brought_about_already_is_what_the_host_says_of_it(said, expected):
    assert wishes(**said).expect_converged is expected


def test_what_a_component_has_to_tell_is_among_the_notices_of_the_plan(waiting, monkeypatch):
    told = {"rule": "told", "says": "it is so"}
    monkeypatch.setattr(host_plan, "TELLING", ["nvidia_driver"])
    resolver = host_plan.COMPONENTS["nvidia_driver"]
    monkeypatch.setattr(resolver, "notices", lambda *_asked: [told], raising=False)
    assert told in planned(waiting, gpunode_stack="r580")["plan"]["stack"]["notices"]


def test_what_the_host_decides_is_in_the_plan_and_in_what_its_receipt_is_held_against(
    waiting, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "app.lock").write_text("@EXPLICIT\n" + LOCK)
    (tmp_path / "main.py").write_text("app = print\n")
    app = {"name": "web", "environment": "app", "source": ".", "listen": "127.0.0.1:9001"}
    variables = {
        "conda_env_list": [{"name": "app", "lock": "app.lock"}],
        "gunicorn_app_list": [{**app, "exclude": ["*.lock", "cache"], "workers": "auto"}],
    }
    site = wanted_state.Site(variables, tmp_path)
    before = host_plan.wishes(site, variables)
    site.look({**waiting, "processor_nproc": 4})
    after = host_plan.wishes(site, variables)
    assert before.refusals == after.refusals == []
    assert before.probe() == after.probe()
    assert before.digests["conda_env"] == after.digests["conda_env"]
    assert before.digests["gunicorn_app"] != after.digests["gunicorn_app"]
    notices = gunicorn_app.notices(after.states["gunicorn_app"], waiting)
    says = "application web: workers: auto is 9 here: (2 x 4 processors) + 1"
    assert [row["says"] for row in notices] == [says]


def test_what_is_not_ours_and_was_there_at_the_proof_is_told_each_time(waiting):
    says = "unit web.service is changed by /x.conf (Restart=no)"
    receipt = {"digest": "", "drift": [], "names": [], "notes": [says], "asked": {}}
    answer = planned(waiting, receipts={"nvidia_driver": receipt}, nvidia_driver_state="absent")
    assert says in [row["says"] for row in answer["plan"]["stack"]["notices"]]
    # Of what nobody asks for any more nothing is told.
    assert "not-ours" not in rules(planned(waiting, receipts={"conda_env": receipt}))


def test_what_is_to_go_is_told_apart(waiting):
    answer = planned(waiting, nvidia_driver_state="absent")
    assert answer["absent"] == ["nvidia_driver"]
    assert planned(waiting, gpunode_stack="r580")["absent"] == []


def test_all_that_cannot_be_understood_is_refused_at_once(waiting):
    answer = planned(
        waiting, gpunode_stack="r581", gpunode_consnt=[], miniforge_prefix="opt", conda_env_list=[]
    )
    assert (answer["plan"]["status"], answer["due"]) == ("refused", [])
    told = [refusal["what"] for refusal in answer["plan"]["refusals"]]
    assert told == ["gpunode_stack: r581", "variable gpunode_consnt"]


BAD = {
    "environments": (
        {"conda_env_list": [{"name": name, "lock": f"{name}.lock"} for name in ("a", "b", "c")]},
        [f"conda_env_list: {name}: lock: {name}.lock" for name in "abc"],
    ),
    "names of environments": (
        {"conda_env_list": [{"name": name, "lock": "x"} for name in ("a/b", "-c")]},
        ["environment name 'a/b'", "environment name '-c'"],
    ),
    "kinds of faults": (
        {
            "conda_env_list": [{"name": "a", "lock": "a.lock"}],
            "conda_env_system_packages": ["a b", "c=1"],
            "miniforge_prefix": "opt",
        },
        [
            "miniforge_prefix opt",
            "conda_env_system_packages: 'a b'",
            "conda_env_system_packages: 'c=1'",
            "conda_env_list: a: lock: a.lock",
        ],
    ),
    "components": (
        {
            "gpunode_stack": "r581",
            "conda_env_list": [{"name": "a", "lock": "a.lock"}],
            "vgpu_license_server": "licences.example.org",
            "nvidia_driver_method": "by pigeon",
        },
        [
            "gpunode_stack: r581",
            "conda_env_list: a: lock: a.lock",
            "variable nvidia_driver_method",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_all_that_is_bad_is_refused_and_not_the_first_alone(kind):
    variables, told = BAD[kind]
    assert {refusal.what for refusal in wishes(**variables).refusals} >= set(told)


def test_a_component_that_cannot_be_leaves_the_others_to_be_looked_at():
    asked = wishes(nvidia_driver_state="absent", miniforge_prefix="opt", miniforge_state="absent")
    assert list(asked.states) == ["nvidia_driver"]
    assert [refusal.what for refusal in asked.refusals] == ["miniforge_prefix opt"]


def test_a_host_without_root_is_refused_in_one_sentence_and_told_as_any_other():
    answer = host_plan.refused(accounts.not_root(), "192.0.2.1")
    assert (answer["due"], answer["absent"]) == ([], [])
    assert report.as_text({"web1": answer["plan"]}, []).splitlines() == [
        "1 host (web1 at 192.0.2.1): refused, nothing was touched",
        "    needs root: the host is reached as another user and without become",
        "        Set ansible_become: true for it in the inventory, or run with --become",
    ]


def test_the_probe_asks_for_each_thing_once():
    asked = wishes(miniforge_state="absent", vgpu_license_server="licences.example.org")
    assert asked.probe() == {
        "paths": ["/opt/miniforge3"],
        "users": [],
        "units": ["nvidia-gridd.service"],
    }


def test_a_host_that_is_still_not_as_wanted_says_why():
    plan = {
        "components": {"conda_env": {"why": ["file /x is gone"]}, "reboot": {"why": ["module"]}},
        "refusals": [],
    }
    said = host_plan.unfinished({"plan": plan, "due": ["conda_env", "reboot"]})
    assert said.endswith("still is not as wanted. conda_env: file /x is gone. reboot: module")
    alone = host_plan.unfinished({"plan": plan, "due": ["conda_env", "reboot"]}, ["reboot"])
    assert alone.endswith("still is not as wanted. reboot: module")
    assert host_plan.unfinished({"plan": plan, "due": ["conda_env"]}, ["reboot"]) == ""
    plan["refusals"] = [Refusal("disk", "it is full", "Free some").as_dict()]
    assert host_plan.unfinished({"plan": plan, "due": []}).endswith("as wanted. disk: it is full")
