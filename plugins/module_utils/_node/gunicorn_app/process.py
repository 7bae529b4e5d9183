# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application's running processes: what they were started from, read in /proc."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any

from ..system import accounts, files, processes, systemd
from . import service
from .wanted import Application

_MAX_REQUESTS = re.compile(r"\bmax[-_]requests\b")


def process(pid: int | str | None, release: str, proc: str = "/proc") -> dict[str, Any] | None:
    """Return {exe, user, in_release, marks} of a running process, or None where there is none.

    ``exe`` is the program's path; ``user`` is whom it runs as; ``in_release`` says
    whether it works in the folder that is at ``release`` now; ``marks`` are the
    variables that say what it was started from.
    """
    environment = systemd.environment_of(pid, proc)
    if environment is None:
        return None
    folder = os.path.join(proc, str(pid))
    try:
        in_release = os.path.isdir(release) and os.path.samefile(
            os.path.join(folder, "cwd"), release
        )
        return {
            "exe": os.readlink(os.path.join(folder, "exe")),
            "user": processes.user_of(pid, proc),
            "in_release": in_release,
            "marks": {
                mark: environment[mark]
                for mark in (systemd.UNIT_MARK, service.SECRETS_MARK)
                if mark in environment
            },
        }
    except (FileNotFoundError, ProcessLookupError):
        return None


def misplaced(app: Application, found: Mapping[str, Any] | None) -> str:
    """Return what is wrong with where a process runs, as the end of a sentence; '' for nothing.

    :param found: what :func:`process` returned.
    """
    if found is None:
        return "is gone"
    if not found["exe"].startswith(f"{app['prefix']}/") or found["exe"].endswith(" (deleted)"):
        return f"runs {found['exe']}, not the environment {app['prefix']}"
    if not found["in_release"]:
        return f"does not work in {app['release']}"
    if not accounts.are_one(found["user"] or "", app["user"]):
        return f"runs as {found['user']}, not as {app['user']}"
    return ""


def reasons_to_restart(app: Application, found: Mapping[str, Any] | None) -> str:
    """Return why a running main process is not the one that is wanted; '' when it is.

    :param found: what :func:`process` returned.
    """
    if found is None:
        return "its main process is gone"
    if found["marks"].get(systemd.UNIT_MARK) != app["unit_digest"]:
        return "it was started from another unit"
    if found["marks"].get(service.SECRETS_MARK, "") != app["secrets_digest"]:
        return "it was started with other secrets"
    wrong = misplaced(app, found)
    return f"it {wrong}" if wrong else ""


def is_recycling(app: Application, main: int | str | None, proc: str = "/proc") -> bool:
    """Say whether gunicorn is told to end each worker after so many requests (max_requests).

    By its command line, its variables, secret ones too, or the configuration in the release: where
    its log is quiet nothing else tells of it.

    :param main: the main process.
    """
    environment = systemd.environment_of(main, proc) or {}
    texts = [*app["units"].values(), environment.get("GUNICORN_CMD_ARGS", "")]
    with contextlib.suppress(OSError, ValueError):
        texts.append(files.read_text(os.path.join(app["release"], "gunicorn.conf.py")))
    return any(_MAX_REQUESTS.search(text) for text in texts)


def workers(app: Application, pid: int | str | None, proc: str = "/proc") -> set[int]:
    """Return the ids of the processes that answer for an application, besides its main one.

    Those of gunicorn are the children of the main process. What ``python
    main.py`` starts is its own affair: nothing is known of it.

    :param pid: the main process.
    """
    return processes.children(pid, proc) if app["server"] == "gunicorn" else set()
