"""Where the time of a first run goes: to the tools that it calls, or to gpunode.

All tools that take long (installers of vendors, compilers, package managers, conda, pip) run on the
node in units of their own. Its journal tells when each was at work; the rest is gpunode's.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import transient_unit
from benchmarks import site_runs
from benchmarks.site_runs import NODE
from benchmarks.table import Figure, Table

#: What is promised of a node that has the packages.
OWN_MOST = 0.15
APP = "ob_cuda"
_ABSENT = {
    "conda_env_list": [{"name": APP, "state": "absent"}],
    "gunicorn_app_list": [{"name": APP, "state": "absent"}],
}
# systemd, src/systemd/sd-messages.h: SD_MESSAGE_UNIT_STARTED; _UNIT_SUCCESS, _UNIT_FAILURE_RESULT.
_STARTED = "39f53479d3a045ac8e11786248231fbf"
_ENDED = ("7ad2d189f7e94e70a38c781354912448", "d9b373ed55a64feb8242e02dbe79a49c")
_SHOWN_S = 0.2


def measure(lab, _options):
    """Yield a Table of a bare node, and one of a node that has Miniforge and all packages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab.bare(NODE)
        yield _profiled(lab, folder, "First run on a bare node", None)
        site_runs.converge(folder, **_ABSENT)
        yield _profiled(lab, folder, "First run with the packages in the node's cache", OWN_MOST)


def _profiled(lab, folder, title, most):
    began = time.time()
    run = site_runs.run("site.yml", folder, "--limit", NODE)
    ended = time.time()
    return profile(title, (began, ended), list(site_runs.spans(run)), _at_work(lab, began), most)


def _at_work(lab, since):
    units = f"{transient_unit.PREFIX}*"
    told = lab.ssh(
        NODE, f"sudo journalctl --output=json --no-pager --since=@{since:.0f} --unit='{units}'"
    )
    assert told.returncode == 0, told.stderr
    return at_work([json.loads(line) for line in told.stdout.splitlines()])


def at_work(entries):
    """Return [(begin, end)] of the units that a node's journal tells of, in seconds of the epoch.

    :param entries: those of the journal, oldest first.
    """
    began, found = {}, []
    for entry in entries:
        at_s = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        if entry.get("MESSAGE_ID") == _STARTED:
            began[entry["UNIT"]] = at_s
        elif entry.get("MESSAGE_ID") in _ENDED and entry["UNIT"] in began:
            found.append((began.pop(entry["UNIT"]), at_s))
    return found


def profile(title, whole, tasks, tools, most):
    """Return the Table of a run: each task, and how much of it tools were at work.

    :param whole: (begin, end) of the run.
    :param tasks: [(title, begin, end)].
    :param tools: [(begin, end)], which do not overlap: a component calls one at a time.
    :param most: which part of the run may be gpunode's own, None where nothing is promised.
    """
    table = Table(title, ("task", "wall, s", "of it tools, s", "gpunode's own, s"))
    whole_s = rest_s = whole[1] - whole[0]
    tools_s = rest_tools_s = within(tools, *whole)
    for name, began, ended in tasks:
        took_s, of_tools_s = ended - began, within(tools, began, ended)
        if took_s >= _SHOWN_S:
            rest_s, rest_tools_s = rest_s - took_s, rest_tools_s - of_tools_s
            table.rows.append([name, took_s, of_tools_s, took_s - of_tools_s])
    table.rows.append(["shorter tasks, start and end", rest_s, rest_tools_s, rest_s - rest_tools_s])
    table.rows.append(["the whole run", whole_s, tools_s, whole_s - tools_s])
    table.figures = [Figure("gpunode's own part", 1 - tools_s / whole_s, most)]
    table.notes = [
        "What modules download by themselves, and the start of the application, count as its own."
    ]
    return table


def within(spans, began, ended):
    """Return how many seconds of a time the given spans cover."""
    return sum(max(0.0, min(end, ended) - max(begin, began)) for begin, end in spans)
