# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done about an application, from what a host has of it.

A restart is due when the running process was started from something else than
what is in place, a reload when its environment was changed under it; both are
read from the process, so that a run that died before them is made up for.
"""

from __future__ import annotations

import collections
import os

from ..refusal import Refusal
from . import release
from . import service as app_service

# Lower user ids belong to services, which never log in; a person's account is left as it is.
_FIRST_PERSON = 1000
# verb: what a method of apply.Applier is called; sentence: what people are told.
Step = collections.namedtuple("Step", "verb argument sentence")
# Steps before anything in service is touched, of the candidate, of the switch, and after its proof.
Plan = collections.namedtuple("Plan", "preparing trying switching cleaning")


def obstacles(app, seen):
    """Return a Refusal for a release that is named by its id and cannot be had from this host.

    :param seen: what observe.observe() found.
    """
    if seen["release"] == "intact" or not release.is_id(app["digest"]):
        return []
    on_disk = map(os.path.basename, seen["releases_on_disk"])
    names = [name for name in on_disk if release.is_id(name) and name != app["digest"]]
    return [
        Refusal(
            f"release {app['digest']} of application {app['name']}",
            f"{app['release']} is not on this host"
            if seen["release"] == "absent"
            else f"{app['release']} was changed since it was placed",
            f"Kept there are {', '.join(names)}: name one of them, or none to place the source's"
            if names
            else "No other is kept there; name none to place the source's",
        )
    ]


def steps(app, seen, keep):
    """Return the Plan of what is to be done.

    :param seen: what observe.observe() found.
    :param keep: how many earlier releases stay.
    """
    return Plan(
        _preparing(app, seen), _trying(app, seen), _switching(app, seen), _cleaning(app, seen, keep)
    )


def _preparing(app, seen):
    todo = []
    if seen["candidate_left"]:
        sentence = f"remove the candidate of {app['name']} that an earlier run left"
        todo.append(Step("remove_candidate", app, sentence))
    if not seen["account"]["exists"]:
        todo.append(Step("create_user", app, f"create user {app['user']}"))
    elif seen["account"]["uid"] < _FIRST_PERSON and seen["account"]["shell"] != app_service.NOLOGIN:
        todo.append(
            Step(
                "forbid_login",
                app,
                f"set the shell of user {app['user']} to {app_service.NOLOGIN}",
            )
        )
    if not seen["releases"]:
        folder = app_service.releases_of(app)
        todo.append(Step("make_releases", app, f"make {folder} a folder that only root writes"))
    if seen["release"] != "intact":
        verb = "unpack" if seen["release"] == "absent" else "replace the changed"
        todo.append(Step("place_release", app, f"{verb} release {app['release']}"))
    return todo


def _trying(app, seen):
    if app["candidate"] is None or (_is_active(app, seen) and not _changed(seen)):
        return []
    return [Step("try_out", app, f"try release {app['release']} as a candidate")]


def _switching(app, seen):
    todo = []
    secrets_path = app_service.secrets_path(app["name"])
    if seen["secrets"] == "differs":
        todo.append(Step("write_secrets", app, f"write {secrets_path}"))
    elif seen["secrets"] == "unwanted":
        todo.append(Step("remove_secrets", app, f"remove {secrets_path}"))
    removed = seen["unwanted_units"]
    todo += [Step("remove_unit", unit, f"remove {app_service.unit_path(unit)}") for unit in removed]
    written = [unit for unit in app["units"] if seen["units"][unit] != app["units"][unit]]
    todo += [
        Step("write_unit", (unit, app["units"][unit]), f"write {app_service.unit_path(unit)}")
        for unit in written
    ]
    forgotten = any(state.get("NeedDaemonReload") == "yes" for state in seen["states"].values())
    if removed or written or forgotten:
        todo.append(Step("reload_systemd", None, "reload systemd"))
    for unit in app_service.units_of(app):
        if seen["states"].get(unit, {}).get("UnitFileState") != "enabled":
            todo.append(Step("enable", unit, f"enable {unit}"))
    if not seen["listens"]:
        sentence = f"listen on {app['listen']} by {app_service.socket_of(app)}"
        todo.append(Step("open_socket", app, sentence))
    return todo + _starting(app, seen)


def _starting(app, seen):
    """Return the step that starts, restarts or reloads the service, if any."""
    service = app_service.service_of(app)
    if not _is_active(app, seen):
        return [Step("restart", app, f"start {service}")]
    repaired = "its environment was repaired after it started" if seen["repaired"] else ""
    reason = _changed(seen) or ("" if seen["listens"] else "its socket is opened anew")
    if repaired and not reason and app["server"] == "gunicorn":
        return [Step("reload", app, f"reload {service}: {repaired}")]
    reason = reason or repaired
    return [Step("restart", app, f"restart {service}: {reason}")] if reason else []


def _is_active(app, seen):
    return seen["states"].get(app_service.service_of(app), {}).get("ActiveState") == "active"


def _changed(seen):
    """Return what a running service is to be switched over for, as one phrase; '' for nothing."""
    if seen["restart"]:
        return seen["restart"]
    return "" if seen["release"] == "intact" else "its release is replaced"


def _cleaning(app, seen, keep):
    todo = []
    if seen["link"] != app["release"]:
        sentence = f"point {app_service.link_of(app)} at {app['release']}"
        todo.append(Step("point_link", app, sentence))
    if seen["socket_left"]:
        path = seen["socket_left"]
        todo.append(Step("remove_socket", path, f"remove {path}"))
    for path in superfluous(app, seen, keep):
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


def superfluous(app, seen, keep):
    """Return the release folders to be removed.

    Those are unfinished ones, ones that never were in service, and earlier ones beyond ``keep``;
    none that something else than the application uses.

    :param seen: what observe.observe() found.
    """
    on_disk = filter(_is_ours, seen["releases_on_disk"])
    others = [path for path in on_disk if path != app["release"]]
    kept = [path for path in seen["served"] if path in others][:keep]
    return sorted(path for path in others if path not in (*kept, *seen["in_use"]))


def _is_ours(path):
    name = os.path.basename(path)
    return release.is_id(name) or name.startswith(app_service.TEMPORARY)
