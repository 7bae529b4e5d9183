"""Checks that may fail until a day, for a reason, and no longer."""

from __future__ import annotations

import datetime

import pytest
from verified import NONE, TODAY, Host, ended

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import (
    quick,
    waivers,
)

ROW = {"check": "host.room", "reason": "a bigger disk comes on Monday", "until": "2026-11-30"}
FULL = {
    "mounts": [{"mount": "/", "fstype": "ext4", "size_total": 1000, "size_available": 20}],
}


@pytest.fixture
def full(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    host = Host(NONE, tmp_path)
    host.changed(FULL)
    return host


def of(*rows):
    return waivers.parsed([{**ROW, **row} for row in rows])


def test_what_is_waived_does_not_fail_and_shows_why_and_until_when(full):
    row = full.results(of({}))["host.room"]
    assert row["outcome"] == "waived"
    assert row["waiver"] == {"reason": ROW["reason"], "until": "2026-11-30"}
    assert row["findings"], "what was seen is told all the same"


def test_a_reason_of_several_lines_stands_on_one(full):
    row = full.results(of({"reason": "first\n9 hosts (a, b): 40 passed"}))["host.room"]
    assert row["waiver"]["reason"] == "first\\n9 hosts (a, b): 40 passed"


def test_a_waiver_lasts_its_last_day_and_fails_the_next(full):
    results = full.results(of({"until": "2026-11-29"}))
    assert ended(results, "failed") == {"host.room", "host.waivers"}
    (finding,) = results["host.waivers"]["findings"]
    assert finding["seen"] == "the waiver of host.room ended on 2026-11-29: " + ROW["reason"]
    assert results["host.room"]["waiver"] is None


def test_a_waiver_that_ended_fails_though_its_check_passes_again(full):
    full.changed({"mounts": []})
    results = full.results(of({"until": "2026-11-29"}))
    assert ended(results, "failed") == {"host.waivers"}


def test_a_waiver_of_what_passes_changes_nothing(full):
    full.changed({"mounts": []})
    results = full.results(of({}))
    assert results["host.room"] == full.results()["host.room"]


def test_a_waiver_is_of_one_check_alone(full):
    full.changed({"mounts": [{**FULL["mounts"][0], "size_available": 40}]})
    assert ended(full.results(of({})), "failed") == {"host.little_room"}


def test_a_host_that_is_down_for_its_repair_can_be_waived():
    (row,) = quick.not_reached("No route to host", of({"check": "host.reached"}), TODAY)
    assert (row["outcome"], row["waiver"]["until"]) == ("waived", "2026-11-30")
    late = TODAY + datetime.timedelta(days=1)
    (row,) = quick.not_reached("No route to host", of({"check": "host.reached"}), late)
    assert row["outcome"] == "failed"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"check": "host.rom"}, "host.room"),
        ({"untl": "2026-12-31"}, "Did you mean until?"),
        ({"owner": "me"}, "It has check, reason, until"),
        ({"check": "disk is full"}, "there is no check of that name"),
        ({"check": ""}, "there is no check of that name"),
        ({"check": "host.waivers"}, "it cannot be waived"),
        ({"check": "host.asked"}, "it cannot be waived"),
        ({"reason": " "}, "it has no reason"),
        ({"until": "31.12.2026"}, "until is 31.12.2026, and it is to be a day"),
        ({"until": "2026-02-30"}, "it is to be a day"),
        ({"until": ""}, "until is not said"),
        ({"until": "forever"}, "it is to be a day"),
    ],
)
def test_a_waiver_that_is_none_is_refused_by_name(row, words):
    with pytest.raises(Refusal) as refusal:
        of(row)
    assert words in str(refusal.value)
    assert refusal.value.remedy


def test_all_that_are_none_are_refused_at_once_and_so_is_one_that_stands_there_twice():
    with pytest.raises(Refusal) as refusal:
        of({"check": "a"}, {}, {}, {"check": "b"})
    told = [one.what for one in refusal.value.each()]
    assert told == ["gpunode_waivers: a", "gpunode_waivers: host.room", "gpunode_waivers: b"]
