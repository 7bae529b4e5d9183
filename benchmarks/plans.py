"""Plans of GPU stacks for large fleets, composed of the real combinations."""

from __future__ import annotations

import contextlib
import itertools

import combinations

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan,
    stack_catalog,
)
from benchmarks import site_runs
from benchmarks.table import Figure, Table

HOSTS = (1000, 10000)
MOST_S = 5


def measure(_lab, _options):
    """Yield a Table of what planning takes."""
    known = stack_catalog.of_project()
    hosts = []
    for row in combinations.ROWS:
        # What is not understood is refused before any host is planned.
        with contextlib.suppress(Refusal):
            wanted = combinations.stack_of(row)
            hosts.append((wanted, combinations.facts_of(row)))
    table = Table("Planning GPU stacks", ("hosts", "wall, s"))
    for count in HOSTS:
        fleet = itertools.islice(itertools.cycle(hosts), count)
        took_s, _plans = site_runs.timed(
            lambda some=fleet: [plan.plan(*host, known) for host in some]
        )
        table.rows.append([count, took_s])
    table.figures = [Figure(f"{HOSTS[-1]} hosts, seconds", table.rows[-1][-1], MOST_S)]
    yield table
