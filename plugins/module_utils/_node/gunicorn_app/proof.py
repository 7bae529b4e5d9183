# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proof that an application does its work, and goes on doing it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Callable

from ..system import commands, http_probe, listening, systemd
from ..system.commands import Run
from ..system.http_probe import Answer
from . import health, journal, process
from .wanted import Application

_POLL_S = 0.25
_ANSWER_S = 10
# So long an application may give an answer such as 404 or 500 while it is getting ready.
_DEFINITE_S = 5
# After the first answer: so many more, and the processes that gave them live on for so long.
_MORE_ANSWERS = 3
_MOMENT_S = 1
_STATE = ("ActiveState", "SubState", "Result", "MainPID", "NRestarts", "Job")
# SubState while ExecStartPre= runs, until the program says it is ready, and then.
_CHECKING, _STARTING, _RUNNING = "start-pre", "start", "running"
_ANSWERING = "answering"


class NotServing(Exception):
    """An application does not answer as it should; the text says what it does instead."""


def prove(
    app: Application,
    unit: str,
    listen: str,
    run: Run = commands.run,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Wait until an application answers 200, again and again, from its release and environment.

    It has its ``start_timeout_s`` for each phase of its start: the check of
    its configuration, the start itself, and the first answer.

    :param unit: the service that it runs as.
    :param listen: where that listens, a ListenStream= value.
    :param run: what runs ``systemctl``.
    :returns: the id of its main process.
    :raises NotServing: it does not, or died meanwhile.
    """
    after = systemd.journal_end(run)
    watch = _Watch(unit, app["start_timeout_s"], run)
    workers = _first_answer(app, listen, watch, sleep)
    complaint = ""
    for _answer in range(_MORE_ANSWERS):
        answer = _ask(app, listen, _ANSWER_S, watch)
        complaint = complaint or health.complaint(app, listen, answer)
        # Whoever answers is to be there in the end; one that has just died may be between two.
        workers |= process.workers(app, watch.main)
    sleep(_MOMENT_S)
    watch.look()
    gone = workers - process.workers(app, watch.main)
    if gone and journal.died(unit, gone, after, process.is_recycling(app, watch.main), run):
        raise NotServing("its worker dies after it has answered")
    if complaint:
        raise NotServing(f"it answered once, and then {complaint}")
    _check_processes(app, watch.main, workers)
    _check_listeners(app, unit, listen, run)
    return watch.main


def _first_answer(
    app: Application, listen: str, watch: _Watch, sleep: Callable[[float], object]
) -> set[int]:
    """Return the workers there were before and after the first answer.

    An answer counts once a worker was seen before it: one that died of it is missed then.
    """
    has_workers = app["server"] == "gunicorn"
    refused = _Refused()
    while True:
        watch.look()
        workers = process.workers(app, watch.main)
        patience_s = max(1, min(_ANSWER_S, watch.deadline - time.monotonic()))
        answer = _ask(app, listen, patience_s, watch)
        complaint = health.complaint(app, listen, answer)
        watch.look()
        if not complaint and (workers or not has_workers):
            watch.phase = _ANSWERING
            return workers | process.workers(app, watch.main)
        is_refused = refused.for_good(answer)
        if is_refused or time.monotonic() >= watch.deadline:
            if watch.phase == _RUNNING:
                # Of another program this says more than that it does not answer.
                _check_processes(app, watch.main, process.workers(app, watch.main))
            if is_refused:
                raise NotServing(complaint)
            raise NotServing(watch.unfinished(complaint or "its workers come and go"))
        sleep(_POLL_S)


def _ask(app: Application, listen: str, patience_s: float, watch: _Watch) -> Answer:
    path, headers, tls = app["health_path"], app["health_headers"], app["health_scheme"] == "https"
    return http_probe.ask(listen, path, patience_s, watch.look, headers, tls)


class _Refused:
    """Remembers since when an application gives the same answer, which waiting does not change."""

    def __init__(self) -> None:
        self._status = 0
        self._since = 0.0

    def for_good(self, answer: Answer) -> bool:
        """Say whether it has given this answer for some seconds, after it was given once more."""
        if not health.is_definite(answer) or answer.status != self._status:
            self._status, self._since = answer.status, time.monotonic()
            return False
        return time.monotonic() - self._since >= _DEFINITE_S


class _Watch:
    """Looks at a unit while it starts, and says at once when it died.

    :ivar phase: how far the start has come.
    :ivar deadline: when this phase is to be over, on the monotonic clock.
    :ivar main: the id of the main process, a text; '0' where there is none.
    """

    def __init__(self, unit: str, timeout_s: float, run: Run) -> None:
        self._unit = unit
        self._timeout_s = timeout_s
        self._run = run
        self._restarts: str | None = None
        self.phase = ""
        self.deadline = time.monotonic() + timeout_s
        self.main = "0"

    def look(self) -> None:
        """Look at the unit.

        :raises NotServing: it died, and perhaps was started again.
        """
        state = systemd.show([self._unit], _STATE, self._run).get(self._unit, {})
        if self._restarts is None:
            self._restarts = state.get("NRestarts")
        # A start that was asked for and has not begun is a job.
        ended = state.get("ActiveState") == "inactive" and not int(state.get("Job") or 0)
        if (
            ended
            or state.get("ActiveState") == "failed"
            or state.get("NRestarts") != self._restarts
        ):
            raise NotServing(self._death(state))
        phase = state.get("SubState")
        if phase in (_CHECKING, _STARTING, _RUNNING) and self.phase not in (phase, _ANSWERING):
            self.phase, self.deadline = phase, time.monotonic() + self._timeout_s
        self.main = state.get("MainPID", "0")

    def unfinished(self, complaint: str) -> str:
        """Return what is said of a start whose time is over.

        :param complaint: what came of the last question.
        """
        return {
            _CHECKING: f"the check of its configuration, which imports it, has not ended after "
            f"{self._timeout_s} s: it hangs at import",
            _STARTING: f"it has not said after {self._timeout_s} s that it is ready",
        }.get(self.phase, f"for {self._timeout_s} s, {complaint}")

    def _death(self, state: Mapping[str, str]) -> str:
        if state.get("Result") == "timeout":
            return self.unfinished("it was not up")
        return {
            _CHECKING: "the check of its configuration, which imports it, fails",
            _ANSWERING: "it dies after it has answered",
        }.get(self.phase, "it dies as soon as it is started")


def _check_processes(app: Application, main: str, workers: Iterable[int]) -> None:
    named: list[tuple[str, int | str]] = [
        ("main process", main),
        *(("worker", pid) for pid in sorted(workers)),
    ]
    for kind, pid in named:
        found = process.process(pid, app["release"])
        # A worker may be at its end, which is judged elsewhere.
        if found is None and kind == "worker":
            continue
        wrong = process.misplaced(app, found)
        if wrong:
            raise NotServing(f"its {kind} (pid {pid}) {wrong}")


def _check_listeners(app: Application, unit: str, listen: str, run: Run) -> None:
    """Demand that nobody but the unit, or its socket, has the address."""
    expected = (unit, unit.replace(".service", ".socket"))
    address = listening.parse(listen)
    rows = [
        row
        for row in listening.survey(run=run)
        if listening.overlap(address, (row["address"], row["port"]))
    ]
    if not rows:
        raise NotServing(f"something answers on {listen} that cannot be seen from here")
    for row in rows:
        if row["unit"] not in expected:
            raise NotServing(f"{listen} is answered by {listening.owner(row)}")
        # What systemd holds it gives to the main process, and that is looked at.
        if row["pid"] == 1:
            continue
        wrong = process.misplaced(app, process.process(row["pid"], app["release"]))
        if wrong:
            raise NotServing(f"{listen} is answered by {listening.owner(row)}, which {wrong}")
