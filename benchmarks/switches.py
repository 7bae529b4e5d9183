"""An application that is switched forth and back between two releases while clients ask."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from benchmarks import site_runs
from benchmarks.site_runs import NODE
from benchmarks.table import Figure, Series, Table
from lab.load import load

PORT = 9500
CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "{length}")])
    return [b"{answer}"]
"""


def measure(lab, options):
    """Yield a Table of what switches take, and of what clients lost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        app = {
            "name": "bench",
            "environment": "ob_cuda",
            "source": str(source),
            "listen": f"0.0.0.0:{PORT}",
            "health_path": "/",
        }

        def serve(answer):
            (source / "main.py").write_text(CODE.format(length=len(answer), answer=answer))
            return site_runs.converge(folder, gunicorn_app_list=[app])

        serve("back")
        nothing = site_runs.series_s(lambda: serve("back"), options.runs)
        taken = {"forth": [], "back": []}
        asking = functools.partial(load, lab.node(NODE).address, PORT, clients=1)
        with asking() as single, asking(kept=True) as kept:
            for way in list(taken) * options.runs:
                taken[way].append(site_runs.timed(functools.partial(serve, way))[0])
    rows = [[way, Series(tuple(seconds))] for way, seconds in taken.items()]
    yield Table(
        "Switching releases under load",
        ("run", "wall, s"),
        [["nothing to do, without load", nothing], *rows],
        [
            *(Figure(f"{way} / nothing to do", one.median / nothing.median) for way, one in rows),
            Figure("requests lost", len(single.lost) + len(kept.lost), 0),
        ],
        [f"{single.sent + kept.sent} requests were sent."],
    )
