"""Builds of an environment from packages that the host has, and what is kept of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import site_runs
from benchmarks.site_runs import NODE
from benchmarks.table import Table
from system import playbooks

LOCK = playbooks.PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
TASK = "Bring the environments to their wanted state"
_MIB = 1 << 20


def measure(_lab, _options):
    """Yield a Table of two builds: the second one has a package less."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shorter = folder / "shorter.lock"
        lines = LOCK.read_text().splitlines(keepends=True)
        shorter.write_text("".join(line for line in lines if "/flask-" not in line))
        taken = []
        for lock in (LOCK, shorter):
            wanted = {"name": "bench", "lock": str(lock)}
            run = site_runs.converge(folder, conda_env_list=[wanted], gunicorn_app_list=[])
            taken.append(site_runs.task_s(run, TASK))
        run = site_runs.run("playbooks/releases.yml", folder, "--limit", NODE)
    (kept,) = [result["kept"] for _task, result in run.results(NODE) if "kept" in result]
    (environment,) = [env for env in kept["environments"] if env["name"] == "bench"]
    # The last one first.
    sizes = [[build[key] / _MIB for key in ("bytes", "own")] for build in environment["builds"]]
    whats = ("from packages that are there", "with a package less")
    yield Table(
        "Building an environment",
        ("build", "wall, s", "MiB", "of its own"),
        [
            [what, took_s, *map(round, size)]
            for what, took_s, size in zip(whats, taken, reversed(sizes), strict=True)
        ],
    )
