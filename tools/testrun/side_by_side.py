"""Tests on lab nodes side by side, on workers that share nothing but the machine.

    python -m testrun.side_by_side [OPTIONS] [ARGUMENTS OF PYTEST]

A worker is a copy of this checkout and hence has a lab of its own: bridge, subnet, nodes, conda
channel and inventory follow from where a checkout lies. Files of tests are handed out whole, those
that take longest first; each is a pytest of its own, so one that dies or hangs ends no other.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lab import cgroup, commands, host, lock, mounts
from lab.node import Lab
from lab.paths import CHECKOUT, LabPaths

WORKERS = 3
#: What runs on lab nodes.
FOLDERS = ("tests/lab", "tests/standins", "tests/system")
#: {file: {kind of run: seconds that it took when they were last noted}}.
DURATIONS = CHECKOUT / "tests" / "durations.yml"
OUTPUT = CHECKOUT / "tests" / "output"
_COLLECT_S = 120
_OTHER_RUN_S = 5
#: What a file may take beyond a multiple of what it took; one that is not noted may take an hour.
_SLACK_S, _SLACK_FACTOR, _UNKNOWN_S = 600, 4, 3600
#: What a file is expected to take where others have the machine too, in what it took; and one that
#: is not noted.
_EXPECTED_FACTOR, _EXPECTED_S = 1.5, 1800
_POLL_S = 0.2
_KILL_S = 10
_NOTHING_COLLECTED = 5
_FAILURE_CHARACTERS = 1500


@dataclass
class Job:
    """A file of tests, and what became of it.

    :ivar limit_s: how long it may take.
    :ivar status: that of its pytest; None while there is none, and where it took too long.
    :ivar why: what ended it, where it did not end by itself.
    :ivar expected_s: how long it is expected to take.
    :ivar cpu_s: seconds of CPU that it took, on the nodes too.
    """

    file: str
    limit_s: float
    log: Path
    report: Path
    status: int | None = None
    took_s: float = 0.0
    why: str = ""
    expected_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def is_good(self):
        """Whether all its tests passed."""
        return not self.why and self.status in (0, _NOTHING_COLLECTED)

    def current(self):
        """Return the test that its pytest is at, as far as its log tells."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        at = [line for line in lines if line.startswith(self.file)]
        return at[-1].split(" ")[0] if at else f"{self.file}, before its first test"


@dataclass
class Worker:
    """One that has a job at a time.

    :ivar number: from 1.
    :ivar folder: its checkout.
    """

    number: int
    folder: Path
    job: Job | None = None
    process: subprocess.Popen | None = None
    began: float = field(default=0.0)
    nodes_s: float = field(default=0.0)

    def start(self, job, argv):
        """Begin a job, in a session of its own."""
        self.job, self.began, self.nodes_s = job, time.monotonic(), self._nodes_s()
        # Where this module was found is relative to this checkout.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self):
        """Return the job where it has come to its end or took too long, else None."""
        took_s, others_s = time.monotonic() - self.began, _children_s()
        if self.process.poll() is None:
            if took_s < self.job.limit_s:
                return None
            self.end(f"took longer than {self.job.limit_s:.0f} s; it was at {self.job.current()}")
        else:
            self.job.status = self.process.returncode
            if self.job.is_good and _all_skipped(self.job.report):
                self.job.why = "was skipped as a whole; its log says why"
        job, self.job, self.process = self.job, None, None
        job.took_s = took_s
        job.cpu_s = _children_s() - others_s + self._nodes_s() - self.nodes_s
        return job

    def _nodes_s(self):
        """Return the seconds of CPU that the nodes have taken; none where there are no groups."""
        found = cgroup.hierarchy()
        stat = found and found / LabPaths.of(self.folder).label / "cpu.stat"
        if not stat or not stat.exists():
            return 0.0
        rows = dict(line.split() for line in stat.read_text(encoding="ascii").splitlines())
        return int(rows["usage_usec"]) / 1e6

    def end(self, why):
        """Kill what the job started, but for what has a session of its own, such as nodes."""
        self.job.why = why
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_KILL_S)


def run(workers, jobs, argv_of, say=print, within_s=None):
    """Do jobs, each worker one at a time; return (jobs that ended, jobs that were left out).

    :param jobs: in the order in which they are begun.
    :param argv_of: returns the command for a job.
    :param within_s: seconds after which all is to have ended: a job that is not expected
        to have, were it begun now, is left to another run.
    """
    began, waiting, done = time.monotonic(), list(jobs), []
    while True:
        left_s = math.inf if within_s is None else began + within_s - time.monotonic()
        for worker in workers:
            job = worker.ended() if worker.process else None
            if job:
                done.append(job)
                _tell(job, worker, f"{len(done)}/{len(jobs)}", say)
            fitting = [] if worker.process else [job for job in waiting if job.expected_s < left_s]
            for job in fitting[:1]:
                waiting.remove(job)
                worker.start(job, argv_of(job))
        if not any(worker.process for worker in workers):
            return done, waiting
        time.sleep(_POLL_S)


def _all_skipped(report):
    """Say whether a JUnit file has tests and all were skipped, as where no lab can run any more."""
    try:
        suites = list(ET.parse(report).iter("testsuite"))
    except (FileNotFoundError, ET.ParseError):
        return False
    tests, skipped = (sum(int(one.get(what, 0)) for one in suites) for what in ("tests", "skipped"))
    return 0 < tests == skipped


def failures(report):
    """Return lines on the tests of a JUnit file that failed: what each says of why, shortened.

    The end of what CI prints is all that some see of it.
    """
    try:
        cases = list(ET.parse(report).iter("testcase"))
    except (FileNotFoundError, ET.ParseError):
        return []
    lines = []
    for case in cases:
        found = case.find("failure")
        found = case.find("error") if found is None else found
        if found is not None:
            told = found.get("message", "")[:_FAILURE_CHARACTERS].splitlines()
            lines += [f"  {case.get('name')}", *(f"      {line}" for line in told)]
    return lines


def _tell(job, worker, count, say):
    told = job.why or {0: "passed", _NOTHING_COLLECTED: "nothing to do"}.get(job.status, "FAILED")
    took = f"{job.took_s:6.0f} s, {job.cpu_s:4.0f} s of CPU"
    say(f"{count:>7}  worker {worker.number}  {took}  {job.file}  {told}")
    if not job.is_good:
        say(job.log.read_text(errors="replace"))


def still_running(workers):
    """Return a line for each worker that has a job: the test that it is at, and its processes."""
    lines = []
    for worker in workers:
        if worker.process:
            took_s = time.monotonic() - worker.began
            lines.append(f"worker {worker.number}: {worker.job.current()}, for {took_s:.0f} s")
            listed = ["ps", "--sid", str(worker.process.pid), "--no-headers", "-o"]
            shown = subprocess.run(
                [*listed, "pid,etimes,stat,args"], capture_output=True, text=True, check=False
            )
            lines += [f"    {line.strip()[:200]}" for line in shown.stdout.splitlines()]
    return lines


def longest_first(files, seconds):
    """Return files in the order in which they are begun; what is not known might take long."""
    return sorted(files, key=lambda file: (-seconds.get(file, _UNKNOWN_S), file))


def expected_s(file, seconds):
    """Return how long a file is expected to take where others have the machine too."""
    return _EXPECTED_FACTOR * seconds[file] if file in seconds else _EXPECTED_S


def limit_s(file, seconds):
    """Return how long a file may take."""
    return _SLACK_S + _SLACK_FACTOR * seconds[file] if file in seconds else _UNKNOWN_S


def noted(kind):
    """Return {file: seconds} of a kind of run: "quick" or "full"."""
    known = yaml.safe_load(DURATIONS.read_text(encoding="utf-8")) if DURATIONS.exists() else {}
    return {file: row[kind] for file, row in known.items() if kind in row}


def note(kind, jobs):
    """Note how long the files took; what was noted of files that are no more is forgotten."""
    known = yaml.safe_load(DURATIONS.read_text(encoding="utf-8")) if DURATIONS.exists() else {}
    for job in jobs:
        known.setdefault(job.file, {})[kind] = round(job.took_s)
    rows = {file: row for file, row in sorted(known.items()) if (CHECKOUT / file).exists()}
    text = yaml.safe_dump(rows, default_flow_style=None, width=200)
    head = "---\n# Seconds that the files of tests on lab nodes take beside each other; "
    DURATIONS.write_text(f"{head}`make durations` notes them.\n{text}", encoding="utf-8")


def collect(arguments):
    """Return the files that have tests which arguments of pytest choose.

    :raises SystemExit: pytest cannot collect them; what it says is shown.
    """
    argv = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *arguments]
    done = subprocess.run(
        argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=_COLLECT_S, check=False
    )
    if done.returncode not in (0, _NOTHING_COLLECTED):
        sys.exit(done.stdout + done.stderr)
    found = (line.partition("::") for line in done.stdout.splitlines())
    return list(dict.fromkeys(file for file, colons, _name in found if colons))


def copy_checkout(source, target):
    """Make a folder a copy of a checkout: what git keeps or would, and the tool environment's.

    It is a repository with the same history: molecule looks for what its scenarios share where the
    repository begins, and does nothing, without a word, where it finds none. Each entry of .venv is
    a link, and .venv none: who empties it takes nothing from the source.
    """
    mounts.remove_tree(target)
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", source, target]
    subprocess.run(clone, check=True, stderr=subprocess.DEVNULL)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        place = target / name
        if os.path.lexists(source / name):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, place, follow_symlinks=False)
    (target / ".venv").mkdir()
    for entry in (source / ".venv").glob("*"):
        (target / ".venv" / entry.name).symlink_to(entry)


def hire(count):
    """Return workers with fresh checkouts."""
    workers = [Worker(number, _folder() / str(number)) for number in range(1, count + 1)]
    for worker in workers:
        copy_checkout(CHECKOUT, worker.folder)
    return workers


def left_over():
    """Return the workers that a run which was killed has left."""
    return [Worker(int(folder.name), folder) for folder in _folder().glob("[0-9]*")]


def _folder():
    return LabPaths.of(CHECKOUT).state / "workers"


def dismiss(workers):
    """Leave nothing of the workers: processes, labs, checkouts."""
    for worker in workers:
        if worker.process:
            worker.end("it was ended")
        lab = Lab(worker.folder)
        commands.down(lab)
        lab.remove()
        mounts.remove_tree(worker.folder)


def _children_s():
    """Return the seconds of CPU that what was started here and has ended took."""
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_utime + taken.ru_stime


def merge(reports, path):
    """Write one JUnit file with all that several say; what is not there was told otherwise."""
    top = ET.Element("testsuites")
    for report in reports:
        with contextlib.suppress(FileNotFoundError, ET.ParseError):
            top.extend(ET.parse(report).getroot())
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(top).write(path, encoding="utf-8", xml_declaration=True)


def _terminated(_number, _frame):
    raise KeyboardInterrupt


def main(arguments=None):
    """Do what the command line asks; return 0 where all tests passed."""
    options, chosen = _parser().parse_known_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    if options.clear:
        dismiss(left_over())
        return 0
    paths = FOLDERS if options.paths is None else options.paths
    obstacle = host.obstacle()
    if obstacle or not paths:
        _say(obstacle or "There is nothing to do.")
        return 0
    seconds = noted("quick" if "not slow" in chosen else "full")
    files = collect([*chosen, *paths])
    if not options.in_order:
        files = longest_first(files, seconds)
    folder = OUTPUT / options.name
    jobs = []
    for file in files:
        name = file.removesuffix(".py").replace("/", ".")
        report = folder / f"{name}.xml"
        job = Job(file, limit_s(file, seconds), folder / f"{name}.log", report)
        job.expected_s = expected_s(file, seconds)
        jobs.append(job)

    def argv_of(job):
        pytest = [sys.executable, "-m", "pytest", "--verbose", *chosen]
        return [*pytest, f"--junit-xml={job.report}", job.file]

    with lock.held(LabPaths.of(CHECKOUT).state / "workers.lock", _OTHER_RUN_S):
        # A report that stayed would pass for one of this run.
        if folder.exists():
            shutil.rmtree(folder)
        return _done(options, jobs, argv_of)


def _done(options, jobs, argv_of):
    """Do the jobs by workers who are there for that alone, and return the exit status."""
    # One for all: two that install packages at once are in each other's way.
    host.prepare()
    dismiss(left_over())
    workers = []
    try:
        workers += hire(min(options.workers, len(jobs)))
        began = time.monotonic()
        done, left = run(workers, jobs, argv_of, _say, options.within)
        took_s = time.monotonic() - began
        # Where others have the machine too, CPU time tells how long it takes where they have not.
        taken_s = sum(job.cpu_s for job in done)
        _say(f"{took_s:.0f} s on {len(workers)} workers, {taken_s:.0f} s of CPU")
    except KeyboardInterrupt:
        _say("Ended from outside. Still running:", *still_running(workers))
        return 1
    finally:
        dismiss(workers)
        merge((job.report for job in jobs), OUTPUT / f"{options.name}.xml")
    if options.note:
        note(options.note, done)
    for job in left:
        _say(f"left out: {job.file}")
    bad = [job for job in done if not job.is_good]
    for job in bad:
        _say(f"FAILED: {job.file}", *failures(job.report))
    return 1 if bad else 0


def _say(*lines):
    for line in lines:
        print(line, flush=True)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m testrun.side_by_side", description=__doc__)
    parser.add_argument("--workers", type=int, default=WORKERS, metavar="N")
    parser.add_argument("--name", default="lab-test", help="of the reports in tests/output")
    parser.add_argument("--paths", nargs="*", help="what is collected, instead of all")
    parser.add_argument("--in-order", action="store_true", help="begin with the first of the paths")
    parser.add_argument("--within", type=float, metavar="SECONDS")
    parser.add_argument("--clear", action="store_true", help="remove what a killed run has left")
    parser.add_argument("--note", choices=("quick", "full"), help="note how long the files took")
    return parser


if __name__ == "__main__":
    sys.exit(main())
