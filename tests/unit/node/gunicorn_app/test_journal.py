"""What an application logged: why it ended, and no secret."""

from __future__ import annotations

import base64
import errno
import html
import json
import shlex
import urllib.parse

import pytest
from web_app import Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    journal as app_journal,
)


def journal(*lines):
    return "".join(f"Nov 22 22:33:41 node1 python[200]: {line}\n" for line in lines).strip()


TRACEBACK = ("Traceback (most recent call last):", '  File "/srv/web/main.py", line 3, in <module>')
LOGS = {
    "syntax": (
        journal('  File "main.py", line 1', "    app = (", "SyntaxError: '(' was never closed"),
        "SyntaxError: '(' was never closed",
    ),
    "its own": (
        journal(*TRACEBACK, "web.errors.ModelError: no model", "Shutting down"),
        "web.errors.ModelError: no model",
    ),
    "the last of two": (journal("ValueError: 1", "During handling", "OSError: 2"), "OSError: 2"),
    "without a text": (journal(*TRACEBACK, "AssertionError"), "AssertionError"),
    "variable": (
        journal(*TRACEBACK, '  File "<frozen os>", line 679, in __getitem__', "KeyError: 'TOKEN'"),
        "environment variable TOKEN is missing (KeyError: 'TOKEN')",
    ),
    "variable, Python 3.9": (
        journal(
            '  File "/opt/envs/web/lib/python3.9/os.py", line 679, in __getitem__',
            "    raise KeyError(key) from None", "KeyError: 'TOKEN'",
        ),
        "environment variable TOKEN is missing (KeyError: 'TOKEN')",
    ),
    "key of something else": (journal(*TRACEBACK, "KeyError: 'TOKEN'"), "KeyError: 'TOKEN'"),
    "nothing": (journal("Booting worker with pid: 7", "no Error here at all"), ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOGS)
def test_what_ended_a_program_is_read_from_its_last_traceback(kind):
    log, said = LOGS[kind]
    assert app_journal.cause(log) == said


# FastAPI, Starlette and Django's ASGI under a worker that calls them as WSGI.
@pytest.mark.parametrize(
    "error",
    [
        "TypeError: FastAPI.__call__() missing 1 required positional argument: 'send'",
        "TypeError: __call__() missing 1 required positional argument: 'send'",
        "TypeError: app() missing 1 required positional argument: 'send'",
    ],
)
def test_an_application_of_asgi_is_told_which_workers_it_needs(error):
    said = app_journal.cause(f"Nov 22 10:00:00 node python[7]: {error}")
    assert said.startswith(error)
    assert "worker_class" in said


def test_no_secret_is_told_nor_a_line_of_one_nor_one_that_holds_another():
    secrets = {"A": "abc", "B": "abcdef", "KEY": "-----\nline one\n-----", "EMPTY": ""}
    text = "abcdef abc line one ('-----\\nline one\\n-----')"
    assert app_journal.redacted(text, secrets) == "******** ******** ******** ('********')"


@pytest.mark.parametrize(
    "written",
    [
        *(str, repr, json.dumps, html.escape, shlex.quote),
        *(urllib.parse.quote, urllib.parse.quote_plus),
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: f"postgres://u:{urllib.parse.quote(text, safe='')}@h/db",
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: base64.b64encode(text.encode()).decode(),
    ],
)
def test_no_secret_is_told_however_a_program_quotes_it(written):
    secret = "back\\slash/ \"odd\" & 'sö' on"
    told = app_journal.redacted(written(secret), {"ODD": secret})
    assert "odd" not in told
    assert "b2Rk" not in told
    assert "********" in told


def test_the_end_of_what_was_logged_is_read():
    systemd = Systemd()
    systemd.log = "\n".join(f"line {number}" for number in range(100))
    read = app_journal.read("web.service", "", "/healthz", systemd.run).splitlines()
    assert (read[0], read[-1]) == ("line 40", "line 99")


# How servers log an answer on the health path /up?full=1 and on others.
ANSWERS = {
    "gunicorn": '- - [30/Nov/2026:06:00:00 +0000] "GET {} HTTP/1.1" 500 9 "-" "-"',
    "uvicorn": 'INFO:     127.0.0.1:53530 - "GET {} HTTP/1.1" 500 Internal Server Error',
    "http.server": '127.0.0.1 - - [30/Nov/2026 06:00:00] "HEAD {} HTTP/1.0" 500 -',
}


@pytest.mark.parametrize("server", ANSWERS)
def test_what_is_asked_on_the_health_path_does_not_hide_what_else_was_logged(server):
    systemd, line = Systemd(), ANSWERS[server]
    others = [line.format("/up"), line.format("/up?full=12"), "GET /up?full=1 HTTP/1.1 is slow"]
    systemd.log = journal("OSError: no model", *others, *[line.format("/up?full=1")] * 100)
    read = app_journal.read("web.service", "", "/up?full=1", systemd.run)
    assert read == journal("OSError: no model", *others)


# What is logged of a worker 7 that is gone, whether it is told to recycle, and whether it died.
ENDS = {
    "nothing": ([], False, True),
    "nothing, of a recycling one": ([], True, False),
    "its renewal": (["[7] [INFO] Autorestarting worker after current request."], False, False),
    "its renewal, by uvicorn": (
        ["[7] [WARNING] Maximum request count of 9 exceeded. Terminating process."], False, False,
    ),
    "that of another": (["[77] [INFO] Autorestarting worker after current request."], False, True),
    "its exit": (["[200] [ERROR] Worker (pid:7) exited with code 1"], True, True),
    "its signal": (["[200] [ERROR] Worker (pid:7) was sent SIGSEGV!"], True, True),
    "its timeout": (["[200] [CRITICAL] WORKER TIMEOUT (pid:7)"], True, True),
    "the exit of another": (["[200] [ERROR] Worker (pid:77) exited with code 1"], True, False),
    "its end in peace": (["[7] [INFO] Worker exiting (pid: 7)"], True, False),
    "a death after its renewal": (
        [
            "[7] [INFO] Autorestarting worker after current request.",
            "[200] [ERROR] Worker (pid:7) was sent SIGKILL! Perhaps out of memory?",
        ],
        True, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_a_worker_that_is_recycled_is_told_from_one_that_died(end):
    lines, is_recycling, is_dead = ENDS[end]
    systemd = Systemd()
    systemd.log = journal(*lines)
    dead = app_journal.died("web.service", [7], "", is_recycling, systemd.run)
    assert dead == ({7} if is_dead else set())


def test_a_full_disk_is_not_laid_to_the_application():
    full = OSError(errno.ENOSPC, "No space left on device", "/etc/systemd/system/web.service")
    said = str(app_journal.failure("application web", full, "All is as before", "x: Error", {}))
    assert said == (
        "application web: the file system of /etc/systemd/system/web.service is full, or its quota "
        "is. All is as before. Free room there and run again"
    )


def test_no_secret_is_told_by_where_a_long_line_ends():
    log = journal(f"{'x' * 960}{'abc' * 40}", "OSError: no model")
    said = str(app_journal.failure("web", "it dies", "Nothing", log, {"A": "abc" * 40}))
    assert "abc" not in said
    assert said.endswith("OSError: no model")
    assert len(said) < 2000


def test_a_failure_says_what_was_seen_why_and_how_the_host_was_left():
    log = journal(*TRACEBACK, "RuntimeError: token abc")
    said = str(
        app_journal.failure("application web", "it dies", "Nothing was touched", log, {"A": "abc"})
    )
    assert said.startswith("application web: it dies: RuntimeError: token ********. Nothing was")
    assert said.endswith("RuntimeError: token ********")
