"""`make bench`: what runs, switches and builds cost; the machine is shared and noisy.

Ratios within this run say more than seconds.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

import combinations

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan,
    stack_catalog,
)
from lab import commands
from lab.load import load
from lab.node import DEFAULT_COUNT, Lab
from system import playbooks

RUNS = 3
CROWD = 1000
PLANNED = (1000, 10000)
FLEETS = (2, 10)
NODE = "node1"
LOCK = playbooks.PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
PORT = 9500
CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "{length}")])
    return [b"{answer}"]
"""
_MIB = 1 << 20


def timed(action):
    """Return (seconds, result) of an action."""
    start = time.monotonic()
    result = action()
    return time.monotonic() - start, result


def median_s(action):
    """Return the median of several runs of an action, in seconds."""
    return statistics.median(timed(action)[0] for _run in range(RUNS))


def ended_well(run):
    """Return a run of a playbook that is to have ended well."""
    assert run.status == 0, run.messages()
    return run


def converge(folder, **variables):
    """Run site.yml on one node with these variables and return the Run."""
    arguments = ("--limit", NODE, "-e", json.dumps(variables))
    return ended_well(playbooks.site(*arguments, log=folder / "ssh"))


def fleets(lab, folder):
    """Converge fleets of several sizes, and measure runs that have nothing to do."""
    log = folder / "ssh"
    for count in FLEETS:
        commands.up(lab, count, count == FLEETS[0])
        first_s, _run = timed(lambda: ended_well(playbooks.site(log=log)))
        nothing_s = median_s(lambda: playbooks.site(log=log))
        trips = playbooks.site(log=log).round_trips
        probe_s = median_s(lambda: playbooks.run("tests/system/preflight/probe.yml", log=log))
        yield (
            f"{count} nodes: first run {first_s:.1f} s, no-change run {nothing_s:.2f} s, "
            f"node_info alone {probe_s:.2f} s, "
            f"ratio {nothing_s / probe_s:.2f} (goal: at most 2), "
            f"round trips per host {len(trips) / count:g} (goal: 1)"
        )


def switches(lab, folder):
    """Switch an application forth and back between two releases while clients ask."""
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
        return converge(folder, gunicorn_app_list=[app])

    serve("back")
    nothing_s = median_s(lambda: serve("back"))
    taken = {"forth": [], "back": []}
    asking = functools.partial(load, lab.node(NODE).address, PORT, clients=1)
    with asking() as single, asking(kept=True) as kept:
        for way in list(taken) * RUNS:
            taken[way].append(timed(functools.partial(serve, way))[0])
    forth_s, back_s = map(statistics.median, taken.values())
    sent, lost = single.sent + kept.sent, len(single.lost) + len(kept.lost)
    yield (
        f"switching releases under load: forth {forth_s:.1f} s, back {back_s:.1f} s, "
        f"no-change run without load {nothing_s:.1f} s, "
        f"ratios {forth_s / nothing_s:.1f} and {back_s / nothing_s:.1f}, "
        f"{lost} of {sent} requests lost (goal: 0)"
    )


def builds(folder):
    """Build an environment twice from packages that the host has, and look at what is kept."""
    shorter = folder / "shorter.lock"
    lines = LOCK.read_text().splitlines(keepends=True)
    shorter.write_text("".join(line for line in lines if "/flask-" not in line))
    taken = []
    for lock in (LOCK, shorter):
        wanted = {"conda_env_list": [{"name": "bench", "lock": str(lock)}], "gunicorn_app_list": []}
        run = converge(folder, **wanted)
        taken.append(task_s(run, "Bring the environments to their wanted state"))
    run = ended_well(playbooks.run("playbooks/releases.yml", "--limit", NODE, log=folder / "ssh"))
    (kept,) = [result["kept"] for _task, result in run.results(NODE) if "kept" in result]
    (environment,) = [env for env in kept["environments"] if env["name"] == "bench"]
    sizes = [
        f"{build['bytes'] / _MIB:.0f} MiB, {build['own'] / _MIB:.0f} of its own"
        for build in environment["builds"]
    ]
    yield (
        f"building an environment from packages that are there: {taken[0]:.1f} s, "
        f"another with a package less: {taken[1]:.1f} s; "
        f"disk per kept build: {'; '.join(sizes)}"
    )


def probes(lab, folder):
    """Look at a node that is idle, and at one with a thousand processes."""
    crowd = f"for i in $(seq {CROWD}); do setsid sleep 600 </dev/null >/dev/null 2>&1 & done"
    look = functools.partial(
        playbooks.run, "tests/system/preflight/probe.yml", "--limit", NODE, log=folder / "ssh"
    )
    idle_s, idle = median_s(look), facts_bytes(look())
    lab.ssh(NODE, crowd)
    crowded_s, crowded = median_s(look), facts_bytes(look())
    lab.ssh(NODE, "pkill -x sleep")
    yield (
        f"probe of an idle node: {idle_s:.2f} s, {idle} bytes of facts; with {CROWD} processes: "
        f"{crowded_s:.2f} s, {crowded} bytes, ratio {crowded_s / idle_s:.2f}"
    )


def facts_bytes(run):
    """Return how many bytes the facts of the bench's node take."""
    ended_well(run)
    return next(
        len(json.dumps(result["gpunode_facts"]))
        for _task, result in run.results(NODE)
        if "gpunode_facts" in result
    )


def plans():
    """Plan the GPU stacks of large fleets, composed of the real combinations."""
    known = stack_catalog.of_project()
    hosts = []
    for row in combinations.ROWS:
        # What is not understood is refused before any host is planned.
        with contextlib.suppress(Refusal):
            wanted = combinations.stack_of(row)
            hosts.append((wanted, combinations.facts_of(row)))
    taken = {}
    for count in PLANNED:
        fleet_of = itertools.islice(itertools.cycle(hosts), count)
        taken[count], _plans = timed(
            lambda some=fleet_of: [plan.plan(*host, known) for host in some]
        )
    yield (
        "planning GPU stacks: "
        + ", ".join(f"{count} hosts in {seconds:.2f} s" for count, seconds in taken.items())
        + f" (goal: {PLANNED[-1]} under 5 s)"
    )


def task_s(run, name):
    """Return the seconds that a task of a run took."""
    for play in run.output["plays"]:
        for task in play["tasks"]:
            # The role stands before it.
            if task["task"]["name"].endswith(name):
                duration = task["task"]["duration"]
                start, end = (
                    datetime.datetime.fromisoformat(duration[key]) for key in ("start", "end")
                )
                return (end - start).total_seconds()
    raise AssertionError(f"the run had no task {name!r}")


def main():
    lab = Lab(playbooks.PROJECT, say=print)
    before = len(lab.nodes) or DEFAULT_COUNT
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            measured = itertools.chain(
                plans(),
                fleets(lab, folder),
                probes(lab, folder),
                switches(lab, folder),
                builds(folder),
            )
            for says in measured:
                print(says, flush=True)
    finally:
        commands.up(lab, before)
        lab.fresh(NODE)


if __name__ == "__main__":
    main()
