"""Large fleets, composed of the real combinations, looked at by the real playbook.

Hosts answer from facts, over a connection that asks nobody, so this is the controller's part.
"""

from __future__ import annotations

import tempfile

import recorded_fleet

from benchmarks import site_runs
from benchmarks.cost import Meter
from benchmarks.table import Figure, Table

#: Seconds that each number of hosts may take at most.
MOST_S = {1000: 15, 10000: 150}
#: Of the controller for each further host: seconds of its CPU, and MiB of memory.
FURTHER_MOST_S, FURTHER_MOST_MIB = 0.12, 4
_KIB_PER_MIB = 1024


def measure(lab, _options):
    """Yield a Table of what a run of site.yml takes that has nothing to do."""
    table = Table(
        "Composed hosts that are as wanted",
        ("hosts", "wall, s", "CPU, s", "largest process, MiB"),
        notes=["Not measured together with hosts: the connection answers from facts."],
    )
    meter = Meter(f"{lab.paths.label}-bench", lab.paths.label)
    with tempfile.TemporaryDirectory() as name:
        fleet = recorded_fleet.Fleet(name)
        kinds = fleet.kinds("converged")
        for count in MOST_S:
            argv, environment = fleet.command(recorded_fleet.of_kinds(kinds, count))
            cost, done = meter.run([*recorded_fleet.PEAK, *argv], environment)
            found = site_runs.flaws(done, count)
            assert not found, "\n".join(found[:1])
            peak_mib = int(done.stderr.split()[-1]) / _KIB_PER_MIB
            table.rows.append([count, cost.wall_s, cost.controller_s, peak_mib])
    table.figures = figures(table.rows)
    yield table


def figures(rows):
    """Return the Figures that follow from rows of (hosts, wall, CPU, memory), by hosts."""
    (fewer, _wall_s, fewer_s, fewer_mib), (more, _wall_s, more_s, more_mib) = rows
    further = more - fewer
    cpu_s, memory_mib = (more_s - fewer_s) / further, (more_mib - fewer_mib) / further
    return [
        *(
            Figure(f"{count} hosts, seconds", wall_s, MOST_S[count])
            for count, wall_s, _cpu_s, _mib in rows
        ),
        Figure("CPU for each further host, s", cpu_s, FURTHER_MOST_S),
        Figure("memory for each further host, MiB", memory_mib, FURTHER_MOST_MIB),
    ]
