# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release that proves itself on a private socket before anything in service is touched.

The candidate is a unit of its own below /run, with one worker and otherwise
the text of the service. It lives for the proof; what a killed run leaves of it
is gone after the next run or the next boot.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Callable

from ..system import commands, drop_ins, files, own_paths, root, systemd
from ..system.commands import Run
from . import journal, proof, service, surroundings
from .wanted import Application

UNIT_DIR = "/run/systemd/system"
# What the name of a candidate has behind that of its application.
SUFFIX = "-candidate"


def unit_of(name: str) -> str:
    """Return the name of the candidate's unit of an application."""
    return f"{name}{SUFFIX}.service"


def unit_path(name: str) -> str:
    """Return where that unit's file lies."""
    return os.path.join(UNIT_DIR, unit_of(name))


def secrets_path(name: str) -> str:
    """Return where a candidate's secrets lie."""
    return os.path.join(own_paths.RUN_DIR, f"{name}{SUFFIX}.env")


def runtime_directory(name: str) -> str:
    """Return the candidate's folder, as RuntimeDirectory= names it."""
    return f"{name}{SUFFIX}"


def socket_path(name: str) -> str:
    """Return the unix socket on which a candidate answers."""
    return f"/run/{runtime_directory(name)}/http.sock"


def is_left(name: str, run: Run = commands.run) -> bool:
    """Say whether there is anything of a candidate on this host."""
    places = (*_places(name), _drop_ins_dir(name))
    return any(map(os.path.lexists, places)) or _state(name, run) != "inactive"


def try_out(
    app: Application,
    text: str,
    secrets: Mapping[str, str],
    outcome: Callable[[], str],
    run: Run = commands.run,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Start an application's candidate, prove that it does its work, and leave no trace of it.

    :param text: the text of the candidate's service.
    :param secrets: its secrets, {variable: value}.
    :param outcome: returns how the host is left where it does not, as a sentence without its end.
    :raises Refusal: it does not; the text ends with what it logged.
    """
    unit, after = unit_of(app["name"]), systemd.journal_end(run)
    try:
        with _started(app, text, secrets, run):
            proof.prove(app, unit, socket_path(app["name"]), run, sleep)
    except (systemd.UnitError, proof.NotServing, OSError) as error:
        raise journal.failure(
            f"application {app['name']}, release {app['release']} as a candidate",
            error,
            outcome(),
            journal.read(unit, after, app["health_path"], run),
            secrets,
            surroundings.says(app),
        ) from error


def remove(name: str, run: Run = commands.run) -> None:
    """Stop an application's candidate, and remove all that there is of it.

    :raises systemd.UnitError: it could not be stopped.
    """
    unit = unit_of(name)
    if _state(name, run) != "inactive":
        systemd.tell("stop", unit, timeout_s=service.STOP_S, run=run)
    for path in _places(name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    # One that stays would change the next candidate, and may hold a secret.
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(_drop_ins_dir(name))
    with contextlib.suppress(OSError):
        os.rmdir(own_paths.RUN_DIR)
    systemd.tell("daemon-reload", run=run)
    # A unit that is not failed cannot be reset, which is as good.
    with contextlib.suppress(systemd.UnitError):
        systemd.tell("reset-failed", unit, run=run)


@contextlib.contextmanager
def _started(app: Application, text: str, secrets: Mapping[str, str], run: Run) -> Iterator[None]:
    name = app["name"]
    try:
        variables = service.secrets_text(secrets, app["secrets_digest"])
        if variables:
            os.makedirs(own_paths.RUN_DIR, mode=0o755, exist_ok=True)
            files.write_text(secrets_path(name), variables, mode=0o600)
        files.write_text(unit_path(name), text, mode=0o644)
        _take_drop_ins(app)
        systemd.tell("daemon-reload", run=run)
        systemd.tell("start", "--no-block", unit_of(name), run=run)
        yield
    finally:
        remove(name, run)


def _take_drop_ins(app: Application) -> None:
    """Change the candidate's unit as that of the service is changed.

    What changes all units of a kind changes the candidate's as it is.
    """
    unit, tree = service.service_of(app), root.Root()
    for path in drop_ins.of(unit, tree):
        if drop_ins.is_of(unit, path):
            copy = os.path.join(_drop_ins_dir(app["name"]), os.path.basename(path))
            os.makedirs(os.path.dirname(copy), mode=0o755, exist_ok=True)
            files.write_text(copy, tree.text(path) + "\n", mode=0o600)


def _drop_ins_dir(name: str) -> str:
    return f"{unit_path(name)}.d"


def _places(name: str) -> tuple[str, str]:
    return unit_path(name), secrets_path(name)


def _state(name: str, run: Run) -> str:
    states = systemd.show([unit_of(name)], ("ActiveState",), run)
    return states.get(unit_of(name), {}).get("ActiveState", "inactive")
