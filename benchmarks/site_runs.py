"""Runs of playbooks on the lab, and commands that take turns."""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.cost import LONGEST_S, Meter
from benchmarks.table import Series
from system import playbooks

#: The node that is measured where one is enough.
NODE = "node1"
# What a run ends with for people: Ansible's callback "default".
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)
_SHOWN = 2000


def run(playbook, folder, *arguments):
    """Run a playbook that is to end well, and return its playbooks.Run.

    :param folder: where it is noted what is sent to hosts.
    """
    done = playbooks.run(playbook, *arguments, log=folder / "ssh", timeout_s=LONGEST_S)
    assert done.status == 0, done.messages()
    return done


def converge(folder, **variables):
    """Run site.yml on the one node, with these variables; see :func:`run`."""
    return run("site.yml", folder, "--limit", NODE, "-e", json.dumps(variables))


def timed(action):
    """Return (seconds, result) of an action."""
    start = time.monotonic()
    result = action()
    return time.monotonic() - start, result


def series_s(action, count):
    """Return the Series of the seconds that an action takes, done so often."""
    return Series(tuple(timed(action)[0] for _run in range(count)))


def task_s(run, name):
    """Return the seconds that a task of a run took."""
    for title, began, ended in spans(run):
        # The role stands before it.
        if title.endswith(name):
            return ended - began
    raise AssertionError(f"the run had no task {name!r}")


def spans(run):
    """Yield (title, begin, end) of the tasks of a run, in seconds since the epoch."""
    for play in run.output["plays"]:
        for task in play["tasks"]:
            duration = task["task"]["duration"]
            if "end" in duration:
                began, ended = (
                    datetime.datetime.fromisoformat(duration[key]).timestamp()
                    for key in ("start", "end")
                )
                yield task["task"]["name"], began, ended


def flaws(done, hosts):
    """Return a sentence for each reason why a run that was to find nothing to do does not count.

    :param done: its CompletedProcess, with what people are shown.
    :param hosts: how many hosts it was to look at.
    """
    if done.returncode:
        return [f"a run ended with status {done.returncode}: {done.stdout[-_SHOWN:]}"]
    rows = _RECAP.findall(done.stdout)
    found = [f"a run did something on {host}" for host, *did in rows if set(did) != {"0"}]
    if len(rows) != hosts:
        found.append(f"a run was to look at {hosts} hosts and told of {len(rows)}")
    return found


@dataclass
class Subject:
    """One of several commands that take turns.

    :ivar name: what people know it by.
    :ivar argv: the command.
    :ivar meter: what runs it.
    :ivar flaws: (CompletedProcess) -> a sentence for each reason why a run does not count.
    :ivar environment: its variables.
    :ivar begin: what is done before each run, and not measured.
    :ivar costs: what its runs took.
    """

    name: str
    argv: list
    meter: Meter
    flaws: Callable
    environment: dict = field(default_factory=dict)
    begin: Callable = dict
    costs: list = field(default_factory=list)

    def run(self):
        """Run it once and return the Cost.

        :raises AssertionError: the run does not count.
        """
        self.begin()
        cost, done = self.meter.run(self.argv, self.environment)
        found = self.flaws(done)
        assert not found, "\n".join(found)
        return cost

    def series(self, part):
        """Return the Series of a part of its costs."""
        return Series(tuple(getattr(cost, part) for cost in self.costs))


def take_turns(subjects, count):
    """Have each subject run so often, in turn: what else the machine does meets all alike.

    A run of each goes before and is not counted: it leaves on hosts and in caches what stays there.
    """
    for subject in subjects:
        subject.run()
    for _turn in range(count):
        for subject in subjects:
            subject.costs.append(subject.run())
