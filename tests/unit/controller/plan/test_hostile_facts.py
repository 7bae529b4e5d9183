"""A host that somebody has taken over answers in shape, and otherwise as it likes.

Whatever it answers is planned for, or refused with words: it never ends the run of the others, and
nothing that a terminal obeys, and no template, comes through.
"""

from __future__ import annotations

import datetime
import functools
import json

import combinations
import hostile
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node import releases as kept
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import (
    host_plan,
    releases,
    report,
)

TODAY = datetime.date(2026, 11, 29)


@st.composite
def answered(draw):
    """A host's whole answer, and the row of what is wanted of it."""
    row = draw(st.sampled_from(combinations.ROWS))
    facts = {**facts_shape.empty(facts_shape.Facts), **combinations.facts_of(row)}
    return row["claim"], hostile.mangled(facts, draw)


@functools.cache
def wishes(claim):
    row = next(row for row in combinations.ROWS if row["claim"] == claim)
    said = {name: value for name, value in row["wanted"].items() if name != "needs"}
    return host_plan.wishes(wanted_state.Site(said, "/"), said)


def is_its_own(text):
    """Assert that all of a text stands in the paragraph of the one host that it is about."""
    first, *others = text.split("\n")
    assert first.startswith("1 host (n1)")
    assert [line for line in others if not line.startswith("    ")] == []


@given(answered())
def test_whatever_a_host_answers_in_shape_it_is_planned_for_or_refused(answer):
    claim, facts = answer
    facts = answers.facts({"gpunode_facts": facts})
    found = host_plan.plan(wishes(claim), facts, today=TODAY)
    assert found["plan"]["status"] in ("converged", "changes", "refused")
    text = report.as_text({"n1": found["plan"]}, [])
    assert not hostile.obeyed(json.dumps(found, ensure_ascii=False) + text)
    is_its_own(text)


@given(hostile.answers_of(kept.Kept))
def test_whatever_a_host_keeps_in_shape_is_shown(found):
    found = answers.of_shape({"kept": found}, "kept", kept.Kept, "releases")
    hosts = {"n1": {"kept": found, "refusals": [], "address": ""}}
    text = releases.as_text(hosts, [])
    assert not hostile.obeyed(text)
    is_its_own(text)


@given(hostile.ANY)
def test_what_a_host_keeps_out_of_shape_is_refused_with_words(found):
    assume(not (isinstance(found, dict) and {"applications", "environments"} <= found.keys()))
    with pytest.raises(ValueError, match="what are no releases"):
        answers.of_shape({"kept": found}, "kept", kept.Kept, "releases")
