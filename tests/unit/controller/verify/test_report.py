"""How a fleet's checks ended: for people, as JSON by its schema, as JUnit, and for Prometheus."""

from __future__ import annotations

import datetime
import json
import re
import stat
import xml.etree.ElementTree as ET

import combinations
import hostile
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from verified import NONE, TODAY, Host

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project, wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import (
    check,
    quick,
    report,
    waivers,
)

AT = datetime.datetime(2026, 11, 30, 18, 5, 3, tzinfo=datetime.UTC)
SCHEMA = json.loads((project.ROOT / "docs" / "verify.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
STOPPED = {
    "receipts": {
        "gunicorn_app": {
            "drift": [
                {
                    "kind": "unit-state",
                    "of": "web.service",
                    "says": 'unit web.service is "failed", should be active',
                }
            ]
        }
    }
}
FULL = {
    "mounts": [{"mount": "/", "fstype": "ext4", "size_total": 1000, "size_available": 40}],
}


@pytest.fixture
def looked_at(tmp_path, monkeypatch):
    """Return a function from changes of a host that is as wanted to how it came off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def look(*changes, waived=()):
        host = Host(NONE, tmp_path)
        for change in changes:
            host.changed(change)
        checks = list(host.results(waivers.parsed(waived)).values())
        plan = host_plan.plan(host.asked, host.facts, today=TODAY)["plan"]
        return {"address": "192.0.2.7", "checks": checks, "plan": plan}

    return look


@pytest.fixture
def fleet(looked_at):
    """A fleet in which each thing happens once."""
    lost = quick.not_reached("ssh: connect to host n4 port 22: No route to host", {}, TODAY)
    waived = {"check": "host.little_room", "reason": "soon", "until": "2026-12-24"}
    return report.of_fleet(
        ["n1", "n2", "n3", "n4", "n5"],
        {
            "n1": looked_at(),
            "n2": looked_at(STOPPED),
            "n3": looked_at(FULL),
            "n4": {"address": "", "checks": lost, "plan": None},
            "n5": looked_at(FULL, waived=[waived]),
        },
    )


def test_the_document_is_as_its_schema_says(fleet):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(json.dumps(report.as_document(fleet, AT)))
    VALIDATOR.validate(document)
    assert {name: host["verdict"] for name, host in document["hosts"].items()} == {
        "n1": "passed",
        "n2": "failed",
        "n3": "warned",
        "n4": "failed",
        "n5": "passed",
    }
    assert document["verdict"] == "failed"
    assert (document["counts"]["hosts"], document["counts"]["failed"]) == (5, 3)
    assert document["counts"]["waived"] == 1
    assert document["at"] == "2026-11-30T18:05:03Z"


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "skipped"},
        {"outcome": "waived"},
        {"outcome": "not_provable"},
        {"findings": [{"seen": "x", "remedy": "y", "action": "reboot"}]},
        {"severity": "fatal"},
        {"because": "of nothing"},
        {"check": "Room"},
        {"more": 1},
    ],
)
def test_a_document_that_is_otherwise_is_none(looked_at, change):
    host = looked_at()
    host["checks"] = [{**host["checks"][0], **change}]
    document = report.as_document({"n1": host}, AT)
    assert not VALIDATOR.is_valid(json.loads(json.dumps(document)))


def test_the_schema_knows_the_words_of_the_checks_and_no_others():
    parts = SCHEMA["$defs"]
    assert parts["result"]["properties"]["severity"]["enum"] == list(check.SEVERITIES)
    assert parts["result"]["properties"]["outcome"]["enum"] == list(check.OUTCOMES)
    assert parts["finding"]["properties"]["action"]["enum"] == list(check.ACTIONS)
    assert parts["verdict"]["enum"] == list(report.VERDICTS)
    assert set(parts["result"]["required"]) == set(check.Result.__annotations__)
    assert SCHEMA["properties"]["schema"]["const"] == report.SCHEMA


def test_the_worst_hosts_come_first_and_alike_ones_share_a_paragraph(looked_at, fleet):
    text = report.as_text({**fleet, "n6": looked_at()})
    heads = [line for line in text.splitlines() if not line.startswith(" ")]
    assert [re.findall(r"n\d", head) for head in heads] == [
        ["n2"],
        ["n4"],
        ["n3"],
        ["n1", "n6"],
        ["n5"],
    ]
    assert re.fullmatch(r"2 hosts \(n1 at 192.0.2.7, n6 at 192.0.2.7\): \d+ passed", heads[3])
    assert re.search(r": 1 failed, \d+ passed$", heads[0])


def test_hosts_of_which_not_as_many_checks_are_made_stand_apart(looked_at):
    fewer = looked_at()
    fewer["checks"] = fewer["checks"][:-1]
    text = report.as_text({"n1": looked_at(), "n2": fewer})
    assert len(re.findall(r"^1 host .*: \d+ passed$", text, re.MULTILINE)) == 2


def test_what_failed_is_told_with_what_to_do(fleet):
    lines = report.as_text(fleet).splitlines()
    at = next(number for number, line in enumerate(lines) if "application.running" in line)
    assert lines[at] == (
        '    critical application.running: unit web.service is "failed", should be active'
    )
    assert lines[at + 1].strip().startswith("Run systemctl start web.service, or make site")
    assert lines[at + 1].endswith("(restart_service)")


def test_what_is_waived_or_not_provable_is_told_with_its_reason(looked_at, fleet):
    text = report.as_text(fleet)
    assert (
        "    waived host.little_room: / has 4.0 % of its room left\n        until 2026-12-24: soon"
        in text
    )
    host = looked_at()
    host["checks"][0] |= {"outcome": "not_provable", "because": "it has no eyes", "check": "a.b"}
    assert "    not provable here, it has no eyes: a.b" in report.as_text({"n1": host})


def test_of_checks_that_are_not_all_is_told_which_they_are(looked_at):
    text = report.as_text({"n1": looked_at()}, "checks of what was changed: ")
    assert re.fullmatch(r"1 host \(n1 at 192.0.2.7\): checks of what was changed: \d+ passed", text)


def test_a_host_of_which_nothing_came_has_failed():
    (row,) = report.of_fleet(["n1"], {})["n1"]["checks"]
    assert (row["check"], row["outcome"]) == ("host.answers", "failed")


def test_no_host_at_all_is_a_failure():
    assert report.of_all({}) == "failed"
    assert report.as_text({}) == "no host was asked"
    VALIDATOR.validate(report.as_document({}, AT))


def test_warnings_fail_no_host(fleet):
    assert report.failing(fleet) == ["n2", "n4"]


def test_junit_has_a_suite_for_each_host_and_fails_what_fails_a_run(fleet):
    root = ET.fromstring(report.as_junit(fleet, AT))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["n1", "n2", "n3", "n4", "n5"]
    assert {name: suite.get("failures") for name, suite in suites.items()} == {
        "n1": "0",
        "n2": "1",
        "n3": "0",
        "n4": "1",
        "n5": "0",
    }
    (failed,) = suites["n2"].findall("testcase/failure/..")
    assert (failed.get("classname"), failed.get("name")) == ("n2", "application.running")
    assert "should be active" in failed.find("failure").get("message")
    for name, skipped in (("n3", "1"), ("n5", "1"), ("n1", "0")):
        assert suites[name].get("skipped") == skipped
        assert len(suites[name].findall("testcase/skipped")) == int(skipped)
    assert int(suites["n1"].get("tests")) == len(suites["n1"])


_SAMPLE = re.compile(r'[a-z_]+(\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.]+')


def test_the_textfile_is_in_the_exposition_format_of_prometheus(fleet):
    text = report.as_textfile({**fleet, 'n"\\\n9': fleet["n2"]}, AT)
    assert text.endswith("\n")
    lines = text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(_SAMPLE.fullmatch(line) for line in samples)
    assert (
        'gpunode_check_failed{host="n2",check="application.running",severity="critical"} 1'
        in samples
    )
    assert 'gpunode_host_reached{host="n4"} 0' in samples
    assert 'gpunode_checks{host="n5",outcome="waived"} 1' in samples
    assert f"gpunode_verify_timestamp_seconds {int(AT.timestamp())}" in samples
    assert any(r'host="n\"\\\n9"' in line for line in samples)
    named = {line.split("{")[0].split(" ")[0] for line in samples}
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == named


def test_what_is_written_is_ones_own_but_for_what_the_exporter_reads(fleet, tmp_path):
    for write, name, mode in (
        (report.write_document, "verify.json", 0o600),
        (report.write_junit, "verify.xml", 0o600),
        (report.write_textfile, "gpunode.prom", 0o644),
    ):
        path = tmp_path / "new" / name
        write(path, fleet, AT)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert path.read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "gpunode.prom",
        "verify.json",
        "verify.xml",
    ]


@st.composite
def answered(draw):
    """A host's whole answer, and what is wanted of it."""
    row = draw(st.sampled_from(combinations.ROWS))
    facts = {**facts_shape.empty(facts_shape.Facts), **combinations.facts_of(row)}
    return row, hostile.mangled(facts, draw)


@given(answered())
def test_whatever_a_host_answers_in_shape_it_is_checked_and_shown(answer):
    row, facts = answer
    said = {name: value for name, value in row["wanted"].items() if name != "needs"}
    asked = host_plan.wishes(wanted_state.Site(said, "/"), said)
    facts = answers.facts({"gpunode_facts": facts})
    plan = host_plan.plan(asked, facts, today=TODAY)["plan"]
    checks = quick.looked_at(asked, facts, plan, {}, TODAY)
    hosts = {"n1": {"address": "", "checks": checks, "plan": plan}}
    document = json.loads(json.dumps(report.as_document(hosts, AT)))
    VALIDATOR.validate(document)
    text = report.as_text(hosts)
    assert not hostile.obeyed(
        text + json.dumps(document["hosts"]["n1"]["checks"], ensure_ascii=False)
    )
    first, *others = text.split("\n")
    assert first.startswith("1 host (n1)")
    assert [line for line in others if not line.startswith("    ")] == []
    ET.fromstring(report.as_junit(hosts, AT))
    samples = [line for line in report.as_textfile(hosts, AT).splitlines() if line[0] != "#"]
    assert all(_SAMPLE.fullmatch(line) for line in samples)
