# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removing applications: everything that was ever set up for one, and nothing else.

``item`` is always one of the wanted state's ``absent``: {name, user, dir}.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import glob
import os
import pathlib
import pwd
import shutil

from ..records import manifest
from ..refusal import Refusal
from ..system import commands, folders, in_use, own_paths, systemd
from . import candidate, observe, rollback, service
from . import release as app_release

# sentence: what people are told; action: does it.
Step = collections.namedtuple("Step", "sentence action")


def units_of(item):
    """Return the names of all units that an application may have left."""
    return [*service.own_units(item), candidate.unit_of(item["name"])]


def obstacles(items):
    """Return a Refusal for each thing that keeps applications from being removed."""
    found = []
    for item in items:
        what = f"application {item['name']}, which is to be removed"
        found += [
            Refusal(what, f"{path} was not written by gpunode", "Remove it by hand, or keep it")
            for path in map(service.unit_path, service.own_units(item))
            if os.path.lexists(path) and not _is_ours(path)
        ]
        found += [
            Refusal(what, f"{who} uses {path}", "Stop it and run again")
            for path, who in observe.used_by_others(_releases(item), item["name"]).items()
        ]
        placed = _placed_otherwise(item)
        if placed:
            said, found_on_host = (
                " and ".join(f"{key}: {place[key]}" for key in placed) for place in (item, placed)
            )
            found.append(
                Refusal(
                    what,
                    f"it was set up with {found_on_host}, not with {said}",
                    f"Write {found_on_host} in its item of gunicorn_app_list",
                )
            )
    return found


def steps(items, wanted_users=(), proc="/proc", run=commands.run):
    """Return the Steps that leave nothing of some applications on this host.

    :param wanted_users: users of applications that stay.
    """
    todo = []
    for item in items:
        todo += _unit_steps(item, run)
        kept = (
            service.secrets_path(item["name"]),
            candidate.secrets_path(item["name"]),
            rollback.note_of(item["name"]),
        )
        todo += [_removing(path, _unlink) for path in kept if os.path.lexists(path)]
        todo += _folder_steps(item)
    own = [unit for item in items for unit in units_of(item)]
    for user in dict.fromkeys(item["user"] for item in items):
        if user not in wanted_users and _is_removable(user, own, proc):
            action = functools.partial(_remove_user, user, run)
            todo.append(Step(f"remove user {user}", action))
    return todo


def apply(todo):
    """Do the steps.

    :raises Refusal: a unit does not stop, or an account does not go.
    """
    for step in todo:
        try:
            step.action()
        except systemd.UnitError as error:
            raise Refusal(step.sentence, str(error), "Look at the unit and run again") from error


def remove_socket(path):
    """Remove a unix socket, and the folder that systemd made for it, where that is empty."""
    os.unlink(path)
    if path.startswith("/run/"):
        folders.remove_if_empty(os.path.dirname(path))


def entries(items):
    """Return the manifest of what is not there any more of some applications."""
    paths = [
        path
        for item in items
        for path in (
            *map(service.unit_path, service.own_units(item)),
            service.releases_in(item["dir"]),
        )
    ]
    return [manifest.absence(path) for path in paths if not os.path.lexists(path)]


def _placed_otherwise(item):
    """Return {option: value} of what an application was set up with, where its item differs.

    The units tell, which go first: what an item does not name would be left and never found again.
    """
    text = _our_text(service.unit_path(service.service_of(item)))
    release = service.setting(text, "WorkingDirectory")
    placed = {
        "user": service.setting(text, "User"),
        "dir": os.path.dirname(os.path.dirname(release)),
    }
    return {key: value for key, value in placed.items() if value not in ("", item[key])}


def _unit_steps(item, run):
    units = units_of(item)
    states = systemd.show(units, ("ActiveState", "FragmentPath", "NeedDaemonReload"), run)
    places = {unit: _unit_place(unit, item) for unit in units}
    todo = []
    for unit in units:
        state = states.get(unit, {})
        # A distribution's unit of that name is none of ours.
        ours = state.get("FragmentPath", "") in ("", places[unit])
        if ours and state.get("ActiveState", "inactive") != "inactive":
            todo.append(Step(f"stop {unit}", functools.partial(_stop, unit, run)))
    todo += _socket_steps(item)
    for unit in units:
        todo += [_removing(path, _unlink) for path in _files_of(unit, places[unit])]
    forgotten = any(state.get("NeedDaemonReload") == "yes" for state in states.values())
    if todo or forgotten:
        todo.append(Step("reload systemd", functools.partial(_reload, units, run)))
    return todo


def _socket_steps(item):
    """Return the step that removes the unix socket on which an application is reached, if any."""
    text = _our_text(service.unit_path(service.socket_of(item)))
    path = service.unix_socket_of(text)
    return [_removing(path, remove_socket)] if os.path.lexists(path) else []


def _unit_place(unit, item):
    if unit == candidate.unit_of(item["name"]):
        return candidate.unit_path(item["name"])
    return service.unit_path(unit)


def _files_of(unit, path):
    """Return the paths by which systemd knows a unit of ours: links, drop-ins, its file."""
    found = glob.glob(os.path.join(systemd.UNIT_DIR, "*.wants", unit))
    found += [drop_in for drop_in in glob.glob(f"{path}.d/*") if _is_ours(drop_in)]
    return sorted(found) + ([path] if os.path.lexists(path) else [])


def _folder_steps(item):
    """Return the steps that remove releases, the link, and the folders that are empty then."""
    folder, link = service.releases_in(item["dir"]), service.link_of(item)
    todo = [_removing(path, shutil.rmtree) for path in _releases(item)]
    going = set(_releases(item))
    if os.path.islink(link):
        todo.append(_removing(link, _unlink))
        going.add(link)
    for parent in (folder, item["dir"]):
        is_folder = os.path.isdir(parent) and not os.path.islink(parent)
        if is_folder and _children(parent) <= going:
            todo.append(_removing(parent, os.rmdir))
            going.add(parent)
    for parent in map(str, pathlib.PurePath(item["dir"]).parents):
        if not os.path.lexists(parent):
            continue
        if not folders.is_ours(parent) or not _children(parent) <= going:
            break
        todo.append(_removing(parent, os.rmdir))
        going.add(parent)
    return todo


def _releases(item):
    """Return the paths of an application's releases, finished or not."""
    return sorted(
        path
        for path in _children(service.releases_in(item["dir"]))
        if app_release.is_id(os.path.basename(path))
        or os.path.basename(path).startswith(service.TEMPORARY)
    )


def _children(folder):
    if os.path.islink(folder) or not os.path.isdir(folder):
        return set()
    return {os.path.join(folder, name) for name in os.listdir(folder)}


def _is_ours(path):
    return _our_text(path) != ""


def _our_text(path):
    """Return the text of a unit's file or drop-in that we wrote, '' of any other and of none."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as handle:
        text = handle.read()
        return text if text.startswith(service.OURS) else ""
    return ""


def _is_removable(user, own, proc):
    """Say whether we made an account, and nothing else runs as it or is to."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return False
    return (
        account.pw_gecos == service.ACCOUNT_MARK
        and not in_use.user_by_units(user, besides=own)
        and not in_use.user_by_processes(account.pw_uid, proc, own)
    )


def _removing(path, action):
    return Step(f"remove {path}", functools.partial(action, path))


def _unlink(path):
    """Remove a file or link, and its folder where that was there for such files alone."""
    os.unlink(path)
    folder = os.path.dirname(path)
    if folder in (service.SECRETS_DIR, own_paths.RUN_DIR) or folder.endswith((".d", ".wants")):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _stop(unit, run):
    systemd.tell("stop", unit, timeout_s=service.STOP_S, run=run)


def _reload(units, run):
    systemd.tell("daemon-reload", run=run)
    for unit in units:
        # A unit that is not failed cannot be reset, which is as good.
        with contextlib.suppress(systemd.UnitError):
            systemd.tell("reset-failed", unit, run=run)


def _remove_user(user, run):
    done = run(["userdel", user], capture_output=True, text=True)
    if done.returncode:
        raise Refusal(f"user {user}", f"userdel: {done.stderr.strip()}", "Remove it by hand")
