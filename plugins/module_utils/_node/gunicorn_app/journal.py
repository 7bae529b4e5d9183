# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an application logged, told to the operator without its secrets."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Callable
from urllib.parse import quote, quote_plus

from ..refusal import Refusal
from ..system import commands, disk, systemd
from ..system.commands import Run

# A worker's traceback and gunicorn's own after it, and so much of each line.
_LINES = 60
_WIDE = 1000
# The last line of a traceback, after the journal's own "Nov 22 10:00:00 host process[1]: ".
_EXCEPTION = re.compile(r"\]: ((?:\w+\.)*\w*(?:Error|Exception)(?:: .*)?)$", re.MULTILINE)
# What os.environ raises: its frame stands right above.
_VARIABLE = re.compile(
    r'File "(?:<frozen os>|[^"\n]*/os\.py)", line \d+, in __getitem__\n'
    r"(?:.*\n)??.*\]: KeyError: '(\w+)'$",
    re.MULTILINE,
)

# What is called with two arguments, as WSGI has it, and takes three.
_IS_ASGI = re.compile(r"\(\) missing 1 required positional argument: 'send'$")
# The line of an access log, of gunicorn, uvicorn and http.server alike, for a path.
_ASKED = r'"(?:GET|HEAD) {} HTTP/[0-9.]+"'
# gunicorn (workers/sync.py, gthread.py, base_async.py, gtornado.py) and uvicorn (server.py) on a
# worker that has answered as many requests as it is to.
_RENEWS = ("Autorestarting worker", "Maximum request count of", "Maximum request limit of")

# How they write them.
_QUOTED: tuple[Callable[[str], str], ...] = (
    lambda text: repr(text)[1:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    quote,
    lambda text: quote(text, safe=""),
    quote_plus,
    html.escape,
    shlex.quote,
    lambda text: base64.b64encode(text.encode()).decode(),
)


def read(unit: str, after: str, health_path: str, run: Run = commands.run) -> str:
    """Return the end of what a unit logged, as text, without the answers on its health path.

    Most of those are ours: the proof asks there all the time.

    :param after: where the journal ended before, see systemd.journal_end.
    """
    asked = re.compile(_ASKED.format(re.escape(health_path)))
    lines = [line for line in systemd.journal(unit, after, run) if not asked.search(line)]
    return "\n".join(lines[-_LINES:])


def died(
    unit: str, workers: Iterable[int], after: str, is_recycling: bool, run: Run = commands.run
) -> set[int]:
    """Return those workers of gunicorn that died, of some that are gone.

    gunicorn ends a worker after ``max_requests`` answers, and says so where its log has such lines.
    Of one that ends otherwise than in peace its main process complains from 20.1 on (arbiter.py).

    :param workers: the ids of those that are gone.
    :param after: where the journal ended when the first of them was still there.
    :param is_recycling: whether the application is told to recycle them: then one of which nothing
        is said came to its planned end.
    """
    lines = systemd.journal(unit, after, run)
    return {
        pid
        for pid in workers
        if any(f"(pid:{pid})" in line for line in lines)
        or not (is_recycling or any(_is_renewal(line, pid) for line in lines))
    }


def _is_renewal(line: str, pid: int) -> bool:
    return f"[{pid}]" in line and any(words in line for words in _RENEWS)


def failure(
    what: str,
    error: Exception,
    outcome: str,
    log: str,
    secrets: Mapping[str, str],
    besides: str = "",
) -> Refusal:
    """Return the Refusal for an application that does not do its work.

    Of a full disk it says that alone: the application cannot be blamed for it.

    :param what: which one, in words.
    :param error: what was seen of it from outside.
    :param outcome: how the host was left, as a sentence without its end.
    :param log: what it logged.
    :param secrets: its secrets, {variable: value}; none of them is told.
    :param besides: what changes its units; '' for nothing.
    """
    if isinstance(error, OSError) and disk.ran_out(error):
        return Refusal(
            what,
            disk.without_room(error.filename) if error.filename else str(error),
            f"{outcome}. Free room there and run again",
        )
    log = redacted(log, secrets)
    because = [redacted(str(error), secrets), cause(log), besides]
    shown = "\n".join(
        line if len(line) <= _WIDE else f"{line[:_WIDE]}..." for line in log.splitlines()
    )
    mend = "the application, or remove what changes its units," if besides else "the application"
    return Refusal(
        what,
        ": ".join(part for part in because if part),
        f"{outcome}. Correct {mend} and run again. Its journal ends with:\n{shown}",
    )


def cause(log: str) -> str:
    """Return what ended a Python program, from its last traceback in a log; '' for none."""
    exceptions = _EXCEPTION.findall(log)
    if not exceptions:
        return ""
    if _IS_ASGI.search(exceptions[-1]):
        return f"{exceptions[-1]}: it is of ASGI, and needs a worker_class that is as well"
    variables = _VARIABLE.findall(log)
    if variables and exceptions[-1] == f"KeyError: '{variables[-1]}'":
        return f"environment variable {variables[-1]} is missing ({exceptions[-1]})"
    return exceptions[-1]


def redacted(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text without the values of secrets, nor any line of one of several lines.

    Programs write them as they are, or quoted as Python, JSON, addresses, pages, shells and basic
    authentication have them.
    """
    hidden: set[str] = set()
    for value in secrets.values():
        for part in (value, *value.splitlines()):
            hidden.update((part, *(quoted(part) for quoted in _QUOTED)))
    # The longest first: one may be part of another.
    told = [value for value in hidden if value.strip()]
    for value in sorted(told, key=len, reverse=True):
        text = text.replace(value, "********")
    return text
