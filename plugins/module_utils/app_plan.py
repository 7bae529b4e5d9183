# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of an application, and what is to be done about it."""

from __future__ import annotations

import collections
import contextlib
import os
import pwd

from ansible_collections.gpunode.stack.plugins.module_utils import (
    accounts,
    app_process,
    app_release,
    app_service,
    child,
    files,
    in_use,
    listening,
    systemd,
)

# Lower user ids belong to services, which never log in; a person's account is left as it is.
_FIRST_PERSON = 1000
_STATE = (
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "MainPID",
    "NRestarts",
)

# verb: what a Host method is called; sentence: what people are told.
Step = collections.namedtuple("Step", "verb argument sentence")


def observe(app, secrets, rows, proc="/proc", run=child.run):
    """Return what a host has of an application, as a dict for :func:`steps`.

    :param secrets: its secrets, {variable: value}.
    :param rows: what listening.survey() found.
    """
    account = accounts.survey([app["user"]], run)[app["user"]]
    states = systemd.show(app_service.units_of(app), _STATE, run)
    service = states.get(app_service.service_of(app), {})
    listens = any(
        (row["address"], row["port"]) == listening.parse(app["listen"])
        and row["unit"] == app_service.socket_of(app)
        for row in rows
    )
    text = app_service.secrets_text(secrets, app["secrets_digest"])
    return {
        "account": account,
        "releases": _is_private(app_service.releases_of(app), account),
        "release": _release_state(app),
        "secrets": _secrets_state(app, text),
        "units": {unit: _text_of(app_service.unit_path(unit), "0644") for unit in app["units"]},
        "states": states,
        "listens": listens
        and states.get(app_service.socket_of(app), {}).get("ActiveState") == "active",
        "restart": app_process.reasons_to_restart(
            app, app_process.process(service.get("MainPID", "0"), app["release"], proc)
        ),
        "link": _target_of(app_service.link_of(app)),
        "releases_on_disk": _releases_on_disk(app),
        "in_use": _used_by_others(app, proc),
    }


def steps(app, seen, keep):
    """Return what is to be done, as three lists of Step: to prepare, switch over and clean up.

    :param seen: what :func:`observe` found.
    :param keep: how many earlier releases stay.
    """
    return _preparing(app, seen), _switching(app, seen), _cleaning(app, seen, keep)


def _preparing(app, seen):
    todo = []
    if not seen["account"]["exists"]:
        todo.append(Step("create_user", app, f"create user {app['user']}"))
    elif seen["account"]["uid"] < _FIRST_PERSON and seen["account"]["shell"] != app_service.NOLOGIN:
        todo.append(
            Step(
                "forbid_login", app, f"set the shell of user {app['user']} to {app_service.NOLOGIN}"
            )
        )
    if not seen["releases"]:
        todo.append(
            Step(
                "make_releases",
                app,
                f"make {app_service.releases_of(app)} a folder that only root writes",
            )
        )
    if seen["release"] != "intact":
        verb = "unpack" if seen["release"] == "absent" else "replace the changed"
        todo.append(Step("place_release", app, f"{verb} release {app['release']}"))
    return todo


def _switching(app, seen):
    todo = []
    if seen["secrets"] == "differs":
        todo.append(Step("write_secrets", app, f"write {app_service.secrets_path(app['name'])}"))
    elif seen["secrets"] == "unwanted":
        todo.append(Step("remove_secrets", app, f"remove {app_service.secrets_path(app['name'])}"))
    written = [unit for unit in app["units"] if seen["units"][unit] != app["units"][unit]]
    todo += [
        Step("write_unit", (unit, app["units"][unit]), f"write {app_service.unit_path(unit)}")
        for unit in written
    ]
    if written or any(state.get("NeedDaemonReload") == "yes" for state in seen["states"].values()):
        todo.append(Step("reload_systemd", None, "reload systemd"))
    for unit in app_service.units_of(app):
        if seen["states"].get(unit, {}).get("UnitFileState") != "enabled":
            todo.append(Step("enable", unit, f"enable {unit}"))
    if not seen["listens"]:
        todo.append(
            Step("open_socket", app, f"listen on {app['listen']} by {app_service.socket_of(app)}")
        )
    service = app_service.service_of(app)
    if seen["states"].get(service, {}).get("ActiveState") != "active":
        todo.append(Step("restart", app, f"start {service}"))
    elif _reason(seen):
        todo.append(Step("restart", app, f"restart {service}: {_reason(seen)}"))
    return todo


def _reason(seen):
    """Return why a running service is to be restarted, as one phrase; '' where it is not."""
    if seen["restart"]:
        return seen["restart"]
    if seen["release"] != "intact":
        return "its release is replaced"
    return "" if seen["listens"] else "its socket is opened anew"


def _cleaning(app, seen, keep):
    todo = []
    if seen["link"] != app["release"]:
        todo.append(
            Step("point_link", app, f"point {app_service.link_of(app)} at {app['release']}")
        )
    for path in superfluous(app, seen["releases_on_disk"], keep, seen["in_use"]):
        todo.append(Step("remove", path, f"remove {path}"))
    return todo


def diffs(app, seen):
    """Return what changes in the units, as Ansible shows differences."""
    return [
        {
            "before_header": app_service.unit_path(unit),
            "before": seen["units"][unit] or "",
            "after_header": app_service.unit_path(unit),
            "after": text,
        }
        for unit, text in app["units"].items()
        if seen["units"][unit] != text
    ]


def superfluous(app, on_disk, keep, in_use):
    """Return the release folders to be removed: unfinished ones, and earlier ones beyond ``keep``.

    :param on_disk: paths in the folder of releases, newest first.
    :param in_use: those of them that a process or a unit other than the application's uses.
    """
    unfinished = [
        path for path in on_disk if os.path.basename(path).startswith(app_service.TEMPORARY)
    ]
    earlier = [
        path
        for path in on_disk
        if app_release.is_id(os.path.basename(path)) and path != app["release"]
    ]
    return sorted(unfinished + [path for path in earlier[keep:] if path not in in_use])


def _is_private(folder, account):
    """Say whether a folder belongs to root and can be read by the account's group alone."""
    if not account["exists"] or os.path.islink(folder) or not os.path.isdir(folder):
        return False
    group = files.group_name(pwd.getpwuid(account["uid"]).pw_gid)
    return files.ownership(folder) == ("root", group, "0750")


def _release_state(app):
    if not os.path.isdir(app["release"]):
        return "absent"
    owned = files.ownership(app["release"]) == ("root", "root", "0755")
    return (
        "intact" if owned and app_release.digest_of(app["release"]) == app["digest"] else "changed"
    )


def _secrets_state(app, text):
    path = app_service.secrets_path(app["name"])
    if not text:
        return "unwanted" if os.path.lexists(path) else "as wanted"
    return "as wanted" if _text_of(path, "0600") == text else "differs"


def _text_of(path, mode):
    """Return the text of a regular file of root's that has this mode, None of anything else."""
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8", errors="replace"
        ) as handle:
            return handle.read() if files.ownership(path) == ("root", "root", mode) else None
    except OSError:
        return None


def _target_of(path):
    return os.readlink(path) if os.path.islink(path) else None


def _releases_on_disk(app):
    """Return the paths in an application's folder of releases, newest first."""
    folder = app_service.releases_of(app)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        paths = [os.path.join(folder, name) for name in os.listdir(folder)]
        return sorted(paths, key=lambda path: os.lstat(path).st_mtime, reverse=True)
    return []


def _used_by_others(app, proc):
    """Return the releases that a process or a unit other than the application's uses."""
    earlier = [path for path in _releases_on_disk(app) if path != app["release"]]
    if not earlier:
        return []
    own = app_service.units_of(app)
    return sorted(in_use.by_processes(earlier, proc, own) | in_use.by_units(earlier, besides=own))
