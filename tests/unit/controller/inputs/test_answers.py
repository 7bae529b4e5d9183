"""What a host answers enters in its shape, and can be shown, whatever it is."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers

EMPTY = facts_shape.empty(facts_shape.Facts)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

# What a module of a component answers, and what ansible-core has made of an answer by then.
OWN = ("changed", "changes", "diff")
OF_ANSIBLE = object()


def test_an_answer_gives_what_was_asked_of_it_and_nothing_else():
    answer = {
        "changed": True, "needs": [], "msg": "m", "due": ["reboot"], "plan": {},
        "ansible_facts": {"ansible_connection": "local"}, "_ansible_verbose_always": True,
        "invocation": {"module_args": {"url": "https://u:secret@h"}}, "add_host": {},
    }  # fmt: skip
    assert answers.passed_on(answer, ("changed", "needs")) == {
        "changed": True, "needs": [], "msg": "m",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "said", "passed"),
    [
        ("failed", "no", True),
        ("changed", [], False),
        ("skipped", {"x": 1}, True),
        ("msg", {"a": 1}, '{"a": 1}'),
        ("msg", None, "null"),
        ("exception", 5, "5"),
        ("module_stderr", ["x"], '["x"]'),
        ("rc", "x", None),
        ("rc", 4, 4),
        ("warnings", 5, []),
        ("warnings", "one", ["one"]),
        ("warnings", ["old", 5, None, {"x": 1}], ["old"]),
        ("deprecations", ["x", None, {"msg": "a", "version": {}}, {"msg": "b"}], [{"msg": "b"}]),
        ("deprecations", [{"msg": 5}, {"version": "2"}], []),
        ("changes", {}, []),
        ("diff", 5, []),
        ("diff", OF_ANSIBLE, []),
        ("diff", [5, {"before": 7}, {"before": "a"}], [{"before": "a"}]),
        ("diff", {"before": "a", "after": "b"}, [{"before": "a", "after": "b"}]),
        # It would be printed as it is, and so would the lines of a header.
        ("diff", [{"prepared": "ok: [n2]"}, {"after": "b", "x": "y"}], [{}, {"after": "b"}]),
        ("diff", [{"after_header": "x\nok: [n2]"}], [{"after_header": "x\\nok: [n2]"}]),
        # What Ansible put there.
        ("exception", OF_ANSIBLE, OF_ANSIBLE),
        ("warnings", [OF_ANSIBLE], [OF_ANSIBLE]),
    ],
)  # fmt: skip
def test_an_answer_is_passed_on_in_the_shape_that_ansible_shows(key, said, passed):
    assert answers.passed_on({key: said}, OWN) == ({} if passed is None else {key: passed})


@dataclasses.dataclass(frozen=True)
class Summary:
    """As ansible-core has errors and warnings since 2.19 (ansible.module_utils._internal)."""

    event: Any
    follows: tuple[Any, ...] = ()


def test_what_ansible_makes_of_an_error_says_no_more_than_the_error():
    said = "no https://jane:HUNTER@mirror\nok: [n2]\x1b[2J"
    shown = "no https://***@mirror\n    ok: [n2]\\x1b[2J"
    told = answers.passed_on(
        {"exception": Summary(said, (Summary(said),)), "warnings": [Summary(said)]}
    )
    assert told["exception"] == Summary(shown, (Summary(shown),))
    assert told["warnings"] == [Summary(shown)]


def test_no_host_says_lines_that_could_be_those_of_another():
    forged = "no room\nok: [n2]\n\nPLAY RECAP"
    told = answers.passed_on({"failed": True, "msg": forged, "warnings": [forged]})
    lines = [*told["msg"].split("\n"), *told["warnings"][0].split("\n")]
    assert [line for line in lines if not line.startswith("    ")] == ["no room", "no room"]


@given(st.dictionaries(st.sampled_from([*answers._ANSIBLES, *OWN]), ANY))
def test_whatever_is_answered_is_passed_on_in_that_shape(answer):
    told = answers.passed_on(answer, OWN)
    assert {type(told[key]) for key in ("failed", "skipped", "changed") if key in told} <= {bool}
    assert isinstance(told.get("msg", ""), str)
    for diff in told.get("diff", []):
        assert {type(text) for text in diff.values()} <= {str, type(None)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nof two lines, für alle", "plain\ttext\nof two lines, für alle"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("over\rwritten\x08", "over\\rwritten\\x08"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_a_terminal_obeys_is_spelled_out(text, shown):
    assert answers.cleaned({text: [text]}) == {shown: [shown]}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (None, "gpunode_facts is None, no dict"),
        ([], "no dict"),
        ({}, "is missing"),
        ({**EMPTY, "due": ["reboot"]}, "gpunode_facts.due is no fact"),
        ({**EMPTY, "kernels": {}}, "gpunode_facts.kernels is {}, no list"),
        ({**EMPTY, "receipts": {"conda_env": 1}}, "is 1, no dict"),
        ({**EMPTY, "own_kernel": "yes"}, "is 'yes', no bool"),
        ({**EMPTY, "kernel": "x" * 9999 + "\x1b", "gpus": "y" * 9999}, "gpunode_facts.gpus is"),
    ],
)
def test_what_are_no_facts_is_refused_in_a_sentence(facts, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        answers.facts({"gpunode_facts": facts})
    assert len(str(caught.value)) < 2000


def test_a_fact_is_of_one_line():
    forged = "train\n9 hosts (a, b): converged, nothing to do\u2028x\u2029y\vz\x85"
    facts = answers.facts({"gpunode_facts": {**EMPTY, "kernel": forged}})
    assert facts["kernel"].splitlines() == [facts["kernel"]]
    assert facts["kernel"].startswith("train\\n9 hosts")


def test_facts_enter():
    assert answers.facts({"gpunode_facts": EMPTY}) == EMPTY


@given(ANY)
def test_whatever_is_answered_is_shown_or_refused_and_nothing_else(answer):
    shown = json.dumps(answers.cleaned(answer), ensure_ascii=False)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", shown)
    with pytest.raises(ValueError, match="what are no facts"):
        answers.facts({"gpunode_facts": answer})


def test_what_is_without_end_is_cut():
    deep: list = []
    for _level in range(500):
        deep = [deep]
    assert len(json.dumps(answers.cleaned(deep))) < 1000
    assert len(answers.cleaned("x" * (2 << 20))) < (1 << 20) + 10
