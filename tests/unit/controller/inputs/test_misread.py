"""What YAML reads otherwise than it was written passes for no text, in whatever option."""

from __future__ import annotations

import contextlib

import pytest
from ansible.parsing.dataloader import DataLoader
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components.registry import (
    COMPONENTS,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import misread

# The implicit types of YAML 1.1 (yaml.org/type), as PyYAML resolves them.
WORDS = [
    *("no", "No", "NO", "off", "Off", "false", "yes", "on", "ON", "true"),
    *("1.10", "1.", "6.02e+23", ".5", ".inf", "-.inf", ".nan", "190:20:30.15"),
    *("2024-01-31", "2001-12-14t21:59:43.10-05:00", "!!binary aGk="),
]


def read(text):
    """Return a value as Ansible has it of an inventory."""
    return DataLoader().load(f"value: {text}\n", file_name="/inventory/hosts.yml")["value"]


def texts(options, above=()):
    """Yield the specifications that lead to each option that takes a text, or texts, by name."""
    for name, spec in options.items():
        way = (*above, (name, spec))
        if spec.get("type", "str") in ("str", "path") or spec.get("elements") in ("str", "path"):
            yield way
        yield from texts(spec.get("options") or {}, way)


EVERY = {
    ".".join(name for name, _spec in way): (component, way)
    for component in (*COMPONENTS, "preflight", "nccl")
    for way in texts(wanted_state.options_of(component))
}


def said(way, value):
    for (name, _inner), (_outer, spec) in zip(way[:0:-1], way[-2::-1], strict=True):
        value = [{name: value}] if spec["type"] == "list" else {name: value}
    return {way[0][0]: value}


@pytest.mark.parametrize("option", EVERY)
def test_no_word_that_yaml_reads_otherwise_is_a_text(option):
    component, way = EVERY[option]
    options = wanted_state.options_of(component)
    for word in WORDS:
        for quoted in (False, True):
            value = read(f'"{word}"' if quoted else word)
            given_as = said(way, [value] if way[-1][1].get("type") == "list" else value)
            if quoted:
                misread.refuse(options, given_as)
                continue
            with pytest.raises(Refusal, match="YAML reads it as") as caught:
                misread.refuse(options, given_as)
            assert way[-1][0] in caught.value.what
            assert "quotes" in caught.value.remedy


def test_a_word_is_no_number():
    options = wanted_state.options_of("conda_env")
    with pytest.raises(Refusal, match="Write a number"):
        misread.refuse(options, {"conda_env_keep": read("yes")})
    misread.refuse(options, {"conda_env_keep": read("2")})


@pytest.mark.parametrize(
    ("name", "made"),
    [("ON", "true or false"), ("no", "true or false"), ("1.10", "a number"), ("~", "nothing"),
     ("2024-01-31", "a date")],
)  # fmt: skip
def test_a_name_that_yaml_reads_otherwise_is_none(name, made):
    for quoted in (False, True):
        value = read(
            f'[{{inner: {{"{name}": "1"}}}}]' if quoted else f'[{{inner: {{{name}: "1"}}}}]'
        )
        if quoted:
            assert wanted_state.plain(value, "x_list") == [{"inner": {name: "1"}}]
            continue
        with pytest.raises(Refusal, match=f"YAML reads it as {made}") as caught:
            wanted_state.plain(value, "x_list")
        assert caught.value.what.startswith("x_list: ")
        assert "quotes" in caught.value.remedy


def test_a_name_that_is_a_whole_number_is_the_text_it_was():
    assert wanted_state.plain(read('{1: "x"}'), "x") == {"1": "x"}


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
        | st.dates() | st.datetimes(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
def test_whatever_is_said_of_an_option_passes_or_is_refused(value):
    for component in COMPONENTS:
        options = wanted_state.options_of(component)
        for name in options:
            with contextlib.suppress(Refusal):
                misread.refuse(options, {name: value})
