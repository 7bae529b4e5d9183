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

NEW, OPEN, PROBE, PEER = (
    *("site.yml", "site.yml, connections open", "node_info alone, connections open"),
    "pyinfra",
)
#: What is promised: of the time of the peer, of node_info alone, and of a fleet a third as large.
PEER_MOST, PROBE_MOST, GROWTH_MOST, GROWTH = 0.3, 2, 2.2, (10, 30)
#: Seconds of CPU on the controller for each further host.
FURTHER_MOST = 0.12
_PARTS = ("wall_s", "controller_s", "nodes_s")


def measure(lab, options):
    """Yield a Table of runs that have nothing to do, and one of what came before them."""
    resting = Table(
        "Runs that have nothing to do",
        ("hosts", "run", "wall, s", "CPU of the controller, s", "CPU of all nodes, s"),
        notes=[
            "Medians; the runs take turns. Controller and nodes share the machine.",
            "Each run of pyinfra, and each of the first row, makes its connections anew.",
            "pyinfra ensures what the receipts on the nodes name, and found it so each time.",
        ],
    )
    before = Table("Before that", ("hosts", "of these new", "first run, s", "round trips per host"))
    walls = {}
    with tempfile.TemporaryDirectory() as name:
        folder, had = Path(name), 0
        for count in options.nodes:
            commands.up(lab, count, fresh=not had)
            run = functools.partial(site_runs.run, "site.yml", folder)
            first_s, _run = site_runs.timed(run)
            before.rows.append([count, count - had, first_s, len(run().round_trips) / count])
            had = count
            subjects = _subjects(lab, count, folder)
            site_runs.take_turns(subjects, options.runs)
            for subject in subjects:
                series = [subject.series(part) for part in _PARTS]
                resting.rows.append([count, subject.name, *series])
                walls[count, subject.name] = [one.median for one in series]
    resting.figures = figures(walls)
    yield before
    yield resting


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


def figures(medians):
    """Return the Figures that follow from medians.

    :param medians: {(hosts, run): [seconds, of the controller's CPU, of the nodes' CPU]}.
    """
    sizes = list(dict.fromkeys(count for count, _run in medians))
    found = []
    for count in sizes:
        (new_s, *_cpu), (open_s, *_cpu), (probe_s, *_cpu), (peer_s, *_cpu) = (
            medians[count, run] for run in (NEW, OPEN, PROBE, PEER)
        )
        most = PEER_MOST if count >= GROWTH[0] else None
        found += [
            Figure(f"{NEW} / pyinfra on {count} hosts", new_s / peer_s, most),
            Figure(f"{OPEN} / pyinfra on {count} hosts", open_s / peer_s, most),
            Figure(f"{OPEN} / node_info alone on {count} hosts", open_s / probe_s, PROBE_MOST),
        ]
    for fewer, more in itertools.combinations(sizes, 2):
        most = GROWTH_MOST if (fewer, more) == GROWTH else None
        for run in (NEW, PEER):
            ratio = medians[more, run][0] / medians[fewer, run][0]
            found.append(
                Figure(f"{run} on {more} hosts / on {fewer}", ratio, most if run == NEW else None)
            )
    for fewer, more in itertools.pairwise(sizes):
        further_s = (medians[more, NEW][1] - medians[fewer, NEW][1]) / (more - fewer)
        says = f"{NEW}, seconds of the controller's CPU for each host from {fewer} to {more}"
        found.append(Figure(says, further_s, FURTHER_MOST))
    return found
