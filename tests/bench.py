"""`make bench`: what a run costs, as ratios within this run; the machine is shared and noisy."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from lab import commands, fleet
from lab.node import DEFAULT_COUNT, Lab

RUNS = 3
FLEETS = (2, 10)


def timed(action):
    """Return (seconds, result) of an action."""
    start = time.monotonic()
    result = action()
    return time.monotonic() - start, result


def median_s(action):
    """Return the median of several runs of an action, in seconds."""
    return statistics.median(timed(action)[0] for _run in range(RUNS))


def main():
    lab = Lab(fleet.PROJECT, say=print)
    before = len(lab.nodes) or DEFAULT_COUNT
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "ssh"
        for count in FLEETS:
            commands.up(lab, count, count == FLEETS[0])
            first_s, first = timed(lambda: fleet.site(log=log))
            assert first.status == 0, first.messages()
            nothing_s = median_s(lambda: fleet.site(log=log))
            trips = fleet.site(log=log).round_trips
            probe_s = median_s(lambda: fleet.run("tests/lab/probe.yml", log=log))
            print(
                f"{count} nodes: first run {first_s:.1f} s, no-change run {nothing_s:.2f} s, "
                f"node_facts alone {probe_s:.2f} s, "
                f"ratio {nothing_s / probe_s:.2f} (goal: at most 2), "
                f"round trips per host {len(trips) / count:g} (goal: 1)",
                flush=True,
            )
    commands.up(lab, before)


if __name__ == "__main__":
    main()
