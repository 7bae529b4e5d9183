# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removing applications: everything that was ever set up for one, and nothing else."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterator
from typing import Callable

from ..refusal import Refusal
from ..steps import Step
from ..system import commands, own_paths, safe_paths, systemd
from ..system.commands import Run
from . import actions, service
from .remains import Remains, Seen, unit_place, units_of
from .wanted import Identity


def obstacles(items: list[Identity], seen: Seen) -> list[Refusal]:
    """Return a Refusal for each thing that keeps applications from being removed.

    :param seen: what remains.observe() found.
    """
    found = []
    for item in items:
        what = f"application {item['name']}, which is to be removed"
        remains = seen.applications[item["name"]]
        found += [
            Refusal(what, f"{path} was not written by gpunode", "Remove it by hand, or keep it")
            for path in remains.foreign
        ]
        found += [
            Refusal(what, f"{who} uses {path}", "Stop it and run again")
            for path, who in remains.users.items()
        ]
        # The units tell, which go first: what an item does not name would be left and never found.
        asked = {"user": item["user"], "dir": item["dir"]}
        deployed = {"user": remains.user, "dir": remains.dir}
        deployed = {key: value for key, value in deployed.items() if value not in ("", asked[key])}
        if deployed:
            said, found_on_host = (
                " and ".join(f"{key}: {place[key]}" for key in deployed)
                for place in (asked, deployed)
            )
            found.append(
                Refusal(
                    what,
                    f"it was set up with {found_on_host}, not with {said}",
                    f"Write {found_on_host} in its item of gunicorn_app_list",
                )
            )
    return found


def steps(
    items: list[Identity],
    seen: Seen,
    wanted_users: Collection[str] = (),
    run: Run = commands.run,
) -> list[Step]:
    """Return the Steps that leave nothing of some applications on this host.

    :param seen: what remains.observe() found.
    :param wanted_users: users of applications that stay.
    """
    todo = []
    for item in items:
        remains = seen.applications[item["name"]]
        todo += _unit_steps(item, remains, run)
        todo += [_removing(path, _unlink) for path in remains.notes]
        todo += _folder_steps(item, remains)
    for user in dict.fromkeys(item["user"] for item in items):
        if user in seen.own_users and user not in wanted_users:
            action = functools.partial(_remove_user, user, run)
            todo.append(Step(f"remove user {user}", action))
    return todo


def _unit_steps(item: Identity, remains: Remains, run: Run) -> list[Step]:
    units, todo = units_of(item), []
    for unit in units:
        state = remains.states.get(unit, {})
        # A distribution's unit of that name is none of ours.
        ours = state.get("FragmentPath", "") in ("", unit_place(unit, item))
        if ours and state.get("ActiveState", "inactive") != "inactive":
            todo.append(Step(f"stop {unit}", functools.partial(_stop, unit, run)))
    if remains.socket:
        todo.append(_removing(remains.socket, actions.remove_socket))
    for unit in units:
        todo += [_removing(path, _unlink) for path in remains.unit_files[unit]]
    forgotten = any(state.get("NeedDaemonReload") == "yes" for state in remains.states.values())
    if todo or forgotten:
        todo.append(Step("reload systemd", functools.partial(_reload, units, run)))
    return todo


def _folder_steps(item: Identity, remains: Remains) -> list[Step]:
    """Return the steps that remove releases, the link, and the folders that are empty then."""
    todo = [_removing(path, actions.remove) for path in remains.releases]
    going = set(remains.releases)
    if remains.is_linked:
        link = service.link_of(item)
        todo.append(_removing(link, _unlink))
        going.add(link)
    # One may lie in another one, and beside the releases; those in it come first.
    data = sorted(remains.data, key=lambda folder: folder.path, reverse=True)
    for folder in [*(each for each in data if each.is_ours), *remains.folders]:
        if folder.entries <= going:
            todo.append(_removing(folder.path, safe_paths.rmdir))
            going.add(folder.path)
    for above in remains.parents:
        for parent in above:
            if not parent.is_ours or not parent.entries <= going:
                break
            # Two may lie below the same one.
            if parent.path not in going:
                todo.append(_removing(parent.path, safe_paths.rmdir))
                going.add(parent.path)
    return todo


def _removing(path: str, action: Callable[[str], object]) -> Step:
    return Step(f"remove {path}", functools.partial(action, path))


def _unlink(path: str) -> None:
    """Remove a file or link, and its folder where that was there for such files alone."""
    with safe_paths.held_above(path) as place:
        os.unlink(place)
    folder = os.path.dirname(path)
    if folder in (service.SECRETS_DIR, own_paths.RUN_DIR) or folder.endswith((".d", ".wants")):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _stop(unit: str, run: Run) -> None:
    with _refused(f"stop {unit}"):
        systemd.tell("stop", unit, timeout_s=service.STOP_S, run=run)


def _reload(units: list[str], run: Run) -> None:
    with _refused("reload systemd"):
        systemd.tell("daemon-reload", run=run)
    for unit in units:
        # A unit that is not failed cannot be reset, which is as good.
        with contextlib.suppress(systemd.UnitError):
            systemd.tell("reset-failed", unit, run=run)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Turn what systemd does not do into a Refusal."""
    try:
        yield
    except systemd.UnitError as error:
        raise Refusal(what, str(error), "Look at the unit and run again") from error


def _remove_user(user: str, run: Run) -> None:
    done = run(["userdel", user], capture_output=True, text=True)
    if done.returncode:
        raise Refusal(f"user {user}", f"userdel: {done.stderr.strip()}", "Remove it by hand")
