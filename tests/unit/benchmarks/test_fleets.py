"""What follows from the medians of fleets."""

from __future__ import annotations

from benchmarks import fleets
from benchmarks.table import Figure

# {(hosts, run): [wall, CPU of the controller, CPU of the nodes]}
MEDIANS = {
    (1, fleets.NEW): [1.5, 1.0, 0.1],
    (1, fleets.OPEN): [1.2, 0.9, 0.1],
    (1, fleets.PROBE): [1.0, 0.8, 0.1],
    (1, fleets.PEER): [2.0, 1.5, 0.5],
    (10, fleets.NEW): [3.0, 1.9, 1.0],
    (10, fleets.OPEN): [2.0, 1.8, 1.0],
    (10, fleets.PROBE): [1.0, 1.0, 1.0],
    (10, fleets.PEER): [8.0, 4.0, 3.0],
    (30, fleets.NEW): [6.6, 6.9, 3.0],
    (30, fleets.OPEN): [6.0, 6.0, 3.0],
    (30, fleets.PROBE): [2.0, 2.0, 3.0],
    (30, fleets.PEER): [24.0, 12.0, 9.0],
}


def figure(says):
    (found,) = [one for one in fleets.figures(MEDIANS) if one.says == says]
    return found


def test_each_way_of_running_is_held_against_the_peer_on_the_same_hosts():
    assert figure("site.yml / pyinfra on 10 hosts") == Figure(
        "site.yml / pyinfra on 10 hosts", 0.375, 0.3
    )
    assert figure("site.yml, connections open / pyinfra on 30 hosts").value == 0.25


def test_of_a_single_host_nothing_is_promised():
    assert figure("site.yml / pyinfra on 1 hosts").most is None


def test_growth_is_told_of_all_sizes_and_promised_of_one():
    told = {one.says: one for one in fleets.figures(MEDIANS) if " hosts / on " in one.says}
    assert {says: round(one.value, 3) for says, one in told.items()} == {
        "site.yml on 10 hosts / on 1": 2.0,
        "site.yml on 30 hosts / on 1": 4.4,
        "site.yml on 30 hosts / on 10": 2.2,
        "pyinfra on 10 hosts / on 1": 4.0,
        "pyinfra on 30 hosts / on 1": 12.0,
        "pyinfra on 30 hosts / on 10": 3.0,
    }
    assert [says for says, one in told.items() if one.most] == ["site.yml on 30 hosts / on 10"]


def test_a_further_host_costs_what_the_controller_takes_more():
    found = figure("site.yml, seconds of the controller's CPU for each host from 10 to 30")
    assert round(found.value, 3) == 0.25
    assert not found.is_met


def test_one_size_alone_has_no_growth():
    alone = {key: value for key, value in MEDIANS.items() if key[0] == 10}
    assert [one.says for one in fleets.figures(alone)] == [
        "site.yml / pyinfra on 10 hosts",
        "site.yml, connections open / pyinfra on 10 hosts",
        "site.yml, connections open / node_info alone on 10 hosts",
    ]
