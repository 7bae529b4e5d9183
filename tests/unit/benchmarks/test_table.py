"""Tables as people and programs read them."""

from __future__ import annotations

import json

import pytest

from benchmarks.table import Figure, Series, Table, markdown, plain

TABLE = Table(
    "Runs",
    ("hosts", "run", "wall, s"),
    [[10, "ours", Series((2.5, 9.0, 2.0))], [10, "theirs", 8.0]],
    [
        Figure("ours / theirs", 0.3125, 0.3),
        Figure("growth", 2.2, 2.2),
        Figure("of no promise", 5.0),
    ],
    ["The machine is shared."],
)


@pytest.mark.parametrize(
    ("values", "median"),
    [((3.0, 1.0, 2.0), 2.0), ((1.0, 100.0), 50.5), ((4.0,), 4.0), ((5.0, 1.0, 5.0, 1.0), 3.0)],
)
def test_of_several_runs_the_median_counts(values, median):
    assert Series(values).median == median


def test_people_read_medians_and_which_goals_are_missed():
    assert markdown(TABLE) == (
        "### Runs\n\n"
        "| hosts | run | wall, s |\n"
        "| --- | --- | --- |\n"
        "| 10 | ours | 2.50 |\n"
        "| 10 | theirs | 8.00 |\n\n"
        "- ours / theirs: 0.31 (at most 0.3): **missed**\n"
        "- growth: 2.20 (at most 2.2): met\n"
        "- of no promise: 5.00\n"
        "- The machine is shared.\n"
    )


def test_a_table_alone_ends_with_its_rows():
    assert markdown(Table("Empty", ("a",), [["b"]])).endswith("| b |\n")


def test_programs_read_every_single_run():
    read = json.loads(json.dumps(plain(TABLE)))
    assert read["rows"][0] == [10, "ours", {"median": 2.5, "runs": [2.5, 9.0, 2.0]}]
    assert [(one["value"], one["most"], one["met"]) for one in read["figures"]] == [
        (0.3125, 0.3, False),
        (2.2, 2.2, True),
        (5.0, None, None),
    ]
    assert read["notes"] == ["The machine is shared."]
