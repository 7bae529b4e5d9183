"""What YAML reads otherwise than it was written passes for no text, in whatever option."""

from __future__ import annotations

import contextlib

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
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
    "!!set {a}",
]


NUMBERS = ["0123", "007", "0x1F", "0b101", "1_000", "12:30:00", "1:30", "+12", "-0o7", "&x 010"]


def read(text):
    """Return a value as Ansible has it of an inventory."""
    return DataLoader().load(f"value: {text}\n", file_name="/inventory/hosts.yml")["value"]


@pytest.fixture
def of_file(tmp_path):
    """Return what reads a value from a file of an inventory, as read does."""

    def read_it(text, name="hosts.yml"):
        path = tmp_path / name
        path.write_text(f"# ä\u2028some: of it\nvalue: {text}\n", encoding="utf-8")
        misread._lines.cache_clear()
        return DataLoader().load_from_file(str(path), trusted_as_template=True)["value"]

    return read_it


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


@pytest.mark.parametrize("option", EVERY)
def test_no_number_that_yaml_reads_otherwise_is_a_text(option, of_file):
    component, way = EVERY[option]
    options = wanted_state.options_of(component)
    for word in NUMBERS:
        value = of_file(word)
        if not isinstance(value, int):
            continue
        given_as = said(way, [value] if way[-1][1].get("type") == "list" else value)
        with pytest.raises(Refusal, match=f"YAML reads it as the number {value}") as caught:
            misread.refuse(options, given_as)
        # Unless the option's name calls what follows a secret.
        written = urls.shown(f"{option}: {word.split()[-1]}").split()[-1]
        assert written in caught.value.what
        assert "quotes" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["550", "0", "-1", "[550]", "{x: 550}", "  550  # as it is", "&x 550"]
)
def test_a_number_that_reads_as_it_was_written_is_a_text(text, of_file):
    value = of_file(text)
    if isinstance(value, (list, dict)):
        (value,) = value.values() if isinstance(value, dict) else value
    misread.refuse({"x": {"type": "str"}}, {"x": value})


def test_a_number_is_known_as_it_was_written_behind_templates(of_file):
    value = of_file("{first: 0123, second: '{{ first }}', list: [{name: 0o7, other: 010}]}")
    templar = Templar(loader=DataLoader(), variables=value)
    for read_as in (templar.template(value["second"]), templar.template(value["list"])[0]["other"]):
        with pytest.raises(Refusal, match="YAML reads it as the number"):
            misread.refuse({"x": {"type": "str"}}, {"x": wanted_state.plain(read_as)})


def test_a_number_with_a_zero_in_front_is_no_number_but_another(of_file):
    options = wanted_state.options_of("conda_env")
    with pytest.raises(Refusal, match="conda_env_keep: 010: YAML reads it as the number 8"):
        misread.refuse(options, {"conda_env_keep": of_file("010")})
    misread.refuse(options, {"conda_env_keep": of_file("0x10")})


@pytest.mark.parametrize("written", ["1:30", "12:30:00", "-1:30"])
def test_a_number_of_base_60_is_no_number_but_another(of_file, written):
    value = of_file(written)
    words = f"conda_env_keep: {written}: YAML reads it as the number {value}"
    with pytest.raises(Refusal, match=words):
        misread.refuse(wanted_state.options_of("conda_env"), {"conda_env_keep": value})


@pytest.mark.parametrize(
    "text", [".inf", "-.inf", ".nan", "2.5", "'1e400'", "9" * 30, "'" + "9" * 5000 + "'"]
)
def test_what_nobody_counts_to_is_no_number(of_file, text):
    with pytest.raises(
        Refusal, match=r"conda_env_keep: .*it is no whole number of 64 bits"
    ) as said:
        misread.refuse(wanted_state.options_of("conda_env"), {"conda_env_keep": of_file(text)})
    assert len(str(said.value)) < 200


@pytest.mark.parametrize("text", ["'2'", "1_000", "0x10", "3.0", "0", "-1"])
def test_what_is_a_whole_number_is_one(of_file, text):
    misread.refuse(wanted_state.options_of("conda_env"), {"conda_env_keep": of_file(text)})


@pytest.mark.parametrize(
    "text", ["2026-01-01", "2001-12-14 21:59:43", "!!binary aGk=", "!!set {a}"]
)
def test_no_dict_has_what_no_option_takes(of_file, text):
    spec = {"x": {"type": "dict"}}
    with pytest.raises(Refusal, match=r"a of x.*YAML reads it as"):
        misread.refuse(spec, {"x": {"a": of_file(text)}})
    misread.refuse(spec, {"x": {"a": True, "b": 1.5, "c": None, "d": ["x"], "e": 1}})


def test_a_name_that_is_a_number_and_reads_otherwise_is_none(of_file):
    with pytest.raises(Refusal, match="x: 012: YAML reads it as the number 10"):
        wanted_state.plain(of_file('{012: "x"}'), "x")


@pytest.mark.parametrize(
    "content", [None, b"$ANSIBLE_VAULT;1.1;AES256\n" + 2 * (b"31" * 40 + b"\n"), b"\xff\xfe"]
)
def test_a_number_whose_file_tells_nothing_is_taken_as_it_is(content, of_file, tmp_path):
    value = of_file("0123")
    (tmp_path / "hosts.yml").unlink()
    if content:
        (tmp_path / "hosts.yml").write_bytes(content)
    misread.refuse({"x": {"type": "str"}}, {"x": value})


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
