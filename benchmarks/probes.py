"""The look at a node that is idle, and at one with a thousand processes."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

from benchmarks import site_runs
from benchmarks.site_runs import NODE
from benchmarks.table import Figure, Table

CROWD = 1000


def measure(lab, options):
    """Yield a Table of what a look takes and brings back."""
    crowd = f"for i in $(seq {CROWD}); do setsid sleep 600 </dev/null >/dev/null 2>&1 & done"
    table = Table("The look at a node", ("node", "wall, s", "bytes of facts"))
    with tempfile.TemporaryDirectory() as name:
        probe = "tests/system/preflight/probe.yml"
        look = functools.partial(site_runs.run, probe, Path(name), "--limit", NODE)

        def looked(what):
            size = facts_bytes(look())
            table.rows.append([what, site_runs.series_s(look, options.runs), size])

        looked("idle")
        lab.ssh(NODE, crowd)
        looked(f"with {CROWD} processes")
        lab.ssh(NODE, "pkill -x sleep")
    idle, crowded = (row[1].median for row in table.rows)
    table.figures = [Figure("with so many processes / idle", crowded / idle)]
    yield table


def facts_bytes(run):
    """Return how many bytes the facts of the node take."""
    return next(
        len(json.dumps(result["gpunode_facts"]))
        for _task, result in run.results(NODE)
        if "gpunode_facts" in result
    )
