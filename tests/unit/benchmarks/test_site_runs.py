"""Which runs count, and in which order they are made."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from benchmarks import site_runs
from benchmarks.cost import Cost
from benchmarks.table import Series

RECAP = """\
PLAY RECAP *********************************************************************
node1                      : ok=3    changed=0    unreachable=0    failed=0    skipped=3
node2                      : ok=2    changed=0    unreachable=0    failed=0    skipped=2

TASKS RECAP ********************************************************************
"""


def done(text, status=0):
    return subprocess.CompletedProcess([], status, text, "")


def test_a_run_that_found_nothing_to_do_on_each_host_counts():
    assert site_runs.flaws(done(RECAP), 2) == []


@pytest.mark.parametrize("what", ["changed", "unreachable", "failed"])
def test_a_run_that_did_something_does_not_count(what):
    text = RECAP.replace(f"{what}=0", f"{what}=2", 1)
    assert site_runs.flaws(done(text), 2) == ["a run did something on node1"]


def test_a_run_that_left_out_a_host_does_not_count():
    assert site_runs.flaws(done(RECAP), 3) == ["a run was to look at 3 hosts and told of 2"]
    assert site_runs.flaws(done(""), 1) == ["a run was to look at 1 hosts and told of 0"]


def test_a_run_that_failed_does_not_count_and_says_why():
    (flaw,) = site_runs.flaws(done("fatal: no way\n", 2), 2)
    assert "status 2" in flaw
    assert "no way" in flaw


class Recorder:
    """Stands where a command would be run."""

    def __init__(self):
        self.ran = []

    def run(self, argv, environment):
        self.ran.append(argv[0])
        return Cost(float(len(self.ran)), 0.5, 0.25), SimpleNamespace(environment=environment)


def test_subjects_take_turns_and_the_first_of_each_is_not_counted():
    meter = Recorder()
    subjects = [
        site_runs.Subject(
            name, [name], meter, lambda _done: [], begin=lambda: meter.ran.append("-")
        )
        for name in "ab"
    ]
    site_runs.take_turns(subjects, 2)
    assert meter.ran == list("-a-b-a-b-a-b")
    assert subjects[0].series("wall_s") == Series((6.0, 10.0))
    assert subjects[1].series("nodes_s") == Series((0.25, 0.25))


def test_a_run_that_does_not_count_ends_the_measurement():
    subject = site_runs.Subject("a", ["a"], Recorder(), lambda _done: ["changed", "and more"])
    with pytest.raises(AssertionError, match="changed\nand more"):
        site_runs.take_turns([subject], 1)


def test_the_time_of_a_task_is_found_whatever_role_it_is_of():
    duration = {"start": "2026-11-30T10:00:00.500000Z", "end": "2026-11-30T10:00:02.000000Z"}
    tasks = [
        {"task": {"name": "role : Build", "duration": duration}},
        {"task": {"name": "role : Left out", "duration": {"start": duration["start"]}}},
    ]
    run = SimpleNamespace(output={"plays": [{"tasks": tasks}]})
    assert site_runs.task_s(run, "Build") == 1.5
    assert [title for title, *_times in site_runs.spans(run)] == ["role : Build"]
    with pytest.raises(AssertionError, match="no task 'Left out'"):
        site_runs.task_s(run, "Left out")
