"""Where the time of a first run is said to go."""

from __future__ import annotations

import pytest

from benchmarks import first_run

UNIT = "gpunode-conda_env.service"
STARTED, SUCCESS, FAILURE = (first_run._STARTED, *first_run._ENDED)


def entry(at_s, message, unit=UNIT):
    return {"__REALTIME_TIMESTAMP": str(round(at_s * 1e6)), "MESSAGE_ID": message, "UNIT": unit}


def test_a_unit_was_at_work_from_its_start_to_its_end():
    entries = [
        {"__REALTIME_TIMESTAMP": "1000000", "MESSAGE": "conda says something"},
        entry(2.0, STARTED),
        entry(4.5, SUCCESS),
        entry(5.0, STARTED),
        entry(5.25, FAILURE),
    ]
    assert first_run.at_work(entries) == [(2.0, 4.5), (5.0, 5.25)]


def test_an_end_without_a_start_and_a_start_without_an_end_count_for_nothing():
    assert first_run.at_work([entry(1.0, SUCCESS), entry(2.0, STARTED)]) == []


def test_units_are_told_apart():
    other = "gpunode-miniforge.service"
    entries = [entry(1.0, STARTED), entry(2.0, SUCCESS, other), entry(3.0, SUCCESS)]
    assert first_run.at_work(entries) == [(1.0, 3.0)]


@pytest.mark.parametrize(
    ("began", "ended", "seconds"),
    [(0, 10, 3.0), (2, 3, 1.0), (3.25, 4.5, 0.25), (4, 5, 0.0), (0, 1, 0.0)],
)
def test_only_what_falls_into_a_time_counts(began, ended, seconds):
    spans = [(1.0, 3.0), (3.0, 3.5), (5.0, 5.5)]
    assert first_run.within(spans, began, ended) == seconds


def test_a_profile_sums_to_the_run_and_holds_the_own_part_to_its_goal():
    tasks = [("look", 101.0, 102.0), ("build", 102.0, 108.0), ("nothing", 108.0, 108.01)]
    table = first_run.profile("First", (100.0, 110.0), tasks, [(103.0, 107.0)], 0.15)
    rows = {title: [round(cell, 2) for cell in cells] for title, *cells in table.rows}
    assert rows == {
        "look": [1.0, 0.0, 1.0],
        "build": [6.0, 4.0, 2.0],
        "shorter tasks, start and end": [3.0, 0.0, 3.0],
        "the whole run": [10.0, 4.0, 6.0],
    }
    (own,) = table.figures
    assert round(own.value, 3) == 0.6
    assert own.is_met is False
