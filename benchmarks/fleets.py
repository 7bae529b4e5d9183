"""Fleets of several sizes: runs that have nothing to do, beside pyinfra's that have as little."""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path

from benchmarks import peer, site_runs
from benchmarks.cost import Meter
from benchmarks.site_runs import NODE, Subject
from benchmarks.table import Figure, Table
from lab import commands
from system import playbooks

NEW, OPEN, PROBE = "site.yml", "site.yml, connections open", "node_info alone, connections open"
PEER = "pyinfra"
#: What is promised: of the time of the peer, of node_info alone, and of a fleet a third as large.
PEER_MOST, PROBE_MOST, GROWTH_MOST, GROWTH = 0.3, 2, 2.2, (10, 30)
#: Seconds of CPU on the controller for each further host.
FURTHER_MOST = 0.12
_PARTS = ("wall_s", "controller_s", "nodes_s")
_NOTES = (
    f"Medians of runs that take turns. {PEER} and the first row make each connection anew.",
    f"{PEER} ensures what the receipts on the nodes name, and found it so each time.",
)


def measure(lab, options):
    """Yield a Table for each size of fleet, and one of how what it costs grows with that."""
    medians, had = {}, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in sorted(options.nodes):
            commands.up(lab, count, fresh=not had)
            run = functools.partial(site_runs.run, "site.yml", folder)
            first_s, _run = site_runs.timed(run)
            trips = len(run().round_trips) / count
            subjects = _subjects(lab, count, folder)
            site_runs.take_turns(subjects, options.runs)
            costs = {one.name: [one.series(part) for part in _PARTS] for one in subjects}
            medians[count] = {
                name: [series.median for series in found] for name, found in costs.items()
            }
            yield Table(
                f"{_hosts(count)}, nothing to do",
                ("run", "wall, s", "CPU of the controller, s", "CPU of all nodes, s"),
                [[name, *found] for name, found in costs.items()],
                beside(count, medians[count]),
                [
                    f"The first run took {first_s:.1f} s, {count - had} of them being new; "
                    f"round trips to each: {trips:g}.",
                    *_NOTES,
                ],
            )
            had = count
    yield Table(
        "Growth",
        ("hosts", f"{NEW}, s", f"{PEER}, s"),
        [[count, found[NEW][0], found[PEER][0]] for count, found in medians.items()],
        growth(medians),
    )


def _subjects(lab, count, folder):
    """Return what takes turns on a fleet that is converged."""
    group = lab.paths.label
    ours, others = Meter(f"{group}-bench", group), Meter(f"{group}-bench-peer", group)
    # Connections that were opened before the measurement are none of it.
    environment = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp")}
    flaws = functools.partial(site_runs.flaws, hosts=count)
    site = playbooks.command("site.yml")
    probe = playbooks.command("tests/system/preflight/probe.yml")
    entries = peer.take_state(lab.tree(NODE))
    peer_flaws = functools.partial(peer.flaws, hosts=count, entries=entries)
    return [
        Subject(NEW, site, ours, flaws, environment, ours.clear),
        Subject(OPEN, site, ours, flaws, environment),
        Subject(PROBE, probe, ours, flaws, environment),
        Subject(PEER, peer.COMMAND, others, peer_flaws),
    ]


def beside(count, medians):
    """Return the Figures of a fleet's runs beside each other.

    :param medians: {run: [seconds, of the controller's CPU, of the nodes' CPU]}.
    """
    walls = {run: found[0] for run, found in medians.items()}
    most = PEER_MOST if count >= GROWTH[0] else None
    return [
        Figure(f"{NEW} / {PEER}", walls[NEW] / walls[PEER], most),
        Figure(f"{OPEN} / {PEER}", walls[OPEN] / walls[PEER], most),
        Figure(f"{OPEN} / {PROBE}", walls[OPEN] / walls[PROBE], PROBE_MOST),
    ]


def growth(medians):
    """Return the Figures of fleets of several sizes.

    :param medians: {hosts: what :func:`beside` takes}.
    """
    found = []
    for fewer, more in itertools.combinations(medians, 2):
        for run, most in ((NEW, GROWTH_MOST), (PEER, None)):
            ratio = medians[more][run][0] / medians[fewer][run][0]
            promised = most if (fewer, more) == GROWTH else None
            found.append(Figure(f"{run}, {_hosts(more)} / {_hosts(fewer)}", ratio, promised))
    for fewer, more in itertools.pairwise(medians):
        further_s = (medians[more][NEW][1] - medians[fewer][NEW][1]) / (more - fewer)
        says = f"{NEW}, CPU of the controller for each host from {fewer} to {more}, s"
        found.append(Figure(says, further_s, FURTHER_MOST))
    return found


def _hosts(count):
    return "1 host" if count == 1 else f"{count} hosts"
