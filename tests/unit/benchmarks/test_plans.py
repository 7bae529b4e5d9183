"""What follows from fleets that are composed."""

from __future__ import annotations

import pytest

from benchmarks import plans


def test_goals_are_held_against_each_size_and_what_is_between_them():
    few, many = plans.MOST_S
    rows = [[few, 12.0, 20.0, 100.0], [many, 200.0, 20.0 + 0.02 * (many - few), 400.0]]
    found = {figure.says: (figure.value, figure.is_met) for figure in plans.figures(rows)}
    assert found[f"{few} hosts, seconds"] == (12.0, True)
    assert found[f"{many} hosts, seconds"] == (200.0, False)
    assert found["CPU for each further host, s"] == (pytest.approx(0.02), True)
    assert found["memory for each further host, MiB"] == (pytest.approx(300 / (many - few)), True)
