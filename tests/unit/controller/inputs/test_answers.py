"""What a host answers enters in its shape, and can be shown, whatever it is."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers

EMPTY = shape.empty(shape.Facts)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


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
