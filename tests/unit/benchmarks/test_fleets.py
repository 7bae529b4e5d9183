"""What follows from the medians of fleets."""

from __future__ import annotations

import pytest

from benchmarks import fleets

# {hosts: {run: [wall, CPU of the controller, CPU of the nodes]}}
MEDIANS = {
    1: {
        fleets.NEW: [1.5, 1.0, 0.1],
        fleets.OPEN: [1.2, 0.9, 0.1],
        fleets.PROBE: [1.0, 0.8, 0.1],
        fleets.PEER: [2.0, 1.5, 0.5],
    },
    10: {
        fleets.NEW: [3.0, 1.9, 1.0],
        fleets.OPEN: [2.0, 1.8, 1.0],
        fleets.PROBE: [0.8, 1.0, 1.0],
        fleets.PEER: [8.0, 4.0, 3.0],
    },
    30: {
        fleets.NEW: [6.6, 6.9, 3.0],
        fleets.OPEN: [6.0, 6.0, 3.0],
        fleets.PROBE: [2.0, 2.0, 3.0],
        fleets.PEER: [24.0, 12.0, 9.0],
    },
}


def told(figures):
    return {one.says: (round(one.value, 3), one.is_met) for one in figures}


@pytest.mark.parametrize(
    ("count", "ratios"),
    [
        (1, [(0.75, None), (0.6, None), (1.2, True)]),
        (10, [(0.375, False), (0.25, True), (2.5, False)]),
        (30, [(0.275, True), (0.25, True), (3.0, False)]),
    ],
)
def test_each_way_of_running_is_held_against_the_peer_on_the_same_hosts(count, ratios):
    assert told(fleets.beside(count, MEDIANS[count])) == dict(
        zip(
            [
                "site.yml / pyinfra",
                "site.yml, connections open / pyinfra",
                "site.yml, connections open / node_info alone, connections open",
            ],
            ratios,
            strict=True,
        )
    )


def test_growth_is_told_of_all_sizes_and_promised_of_one():
    assert told(fleets.growth(MEDIANS)) == {
        "site.yml, 10 hosts / 1 host": (2.0, None),
        "pyinfra, 10 hosts / 1 host": (4.0, None),
        "site.yml, 30 hosts / 1 host": (4.4, None),
        "pyinfra, 30 hosts / 1 host": (12.0, None),
        "site.yml, 30 hosts / 10 hosts": (2.2, True),
        "pyinfra, 30 hosts / 10 hosts": (3.0, None),
        "site.yml, CPU of the controller for each host from 1 to 10, s": (0.1, True),
        "site.yml, CPU of the controller for each host from 10 to 30, s": (0.25, False),
    }


def test_one_size_alone_has_no_growth():
    assert fleets.growth({10: MEDIANS[10]}) == []
