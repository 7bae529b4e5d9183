"""The look at a node that is idle, and at one with a crowd on it and a share that is away."""

from __future__ import annotations

import json

from benchmarks.site_runs import NODE
from benchmarks.table import Figure, Series, Table
from system import crowded

CROWD = {"processes": 10_000, "sockets": 2_000, "mounts": 500}
#: Seconds that a look may take there at most, a connection that is open included.
MOST_S = 1


def measure(lab, options):
    """Yield a Table of what a look takes and brings back."""
    table = Table(
        "The look at a node",
        ("node", "wall, s", "bytes of facts"),
        notes=["From a shell on the node, by the code that it keeps."],
    )

    def looked(what):
        looks = [crowded.look(lab, NODE) for _run in range(options.runs)]
        size = len(json.dumps(looks[-1][1]))
        table.rows.append([what, Series(tuple(took_s for took_s, _facts in looks)), size])

    looked("idle")
    with crowded.crowd(lab, NODE, **CROWD):
        counts = ", ".join(f"{count} {what}" for what, count in CROWD.items())
        looked(f"with {counts}, and a share that does not answer")
    idle, crowd = (row[1].median for row in table.rows)
    table.figures = [
        Figure("with the crowd, seconds", crowd, MOST_S),
        Figure("with the crowd / idle", crowd / idle),
    ]
    yield table
