# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done about an application, from what a host has of it.

A restart is due when the running process was started from something else than
what is in place, or before its environment was changed; both are read from the
process, so that a run that died before is made up for. A reload would not do:
new workers of gunicorn are forks of what the old main process has loaded.
"""

from __future__ import annotations

import functools
import os
from typing import Callable, NamedTuple

from ..refusal import Refusal
from ..steps import Step, diff
from ..system import systemd
from ..system.commands import Run
from . import actions, candidate, data, release, rollback, service
from .observe import Seen
from .wanted import Application

# Lower user ids belong to services, which never log in; a person's account is left as it is.
_FIRST_PERSON = 1000


class Means(NamedTuple):
    """What the steps work with.

    :ivar secrets: {application: {variable: value}}.
    :ivar archives: {digest of a release: path of its archive}.
    :ivar run: what runs commands.
    """

    secrets: dict[str, dict[str, str]]
    archives: dict[str, str]
    run: Run

    def secrets_of(self, app: Application) -> dict[str, str]:
        """Return the secrets of an application, {variable: value}."""
        return self.secrets.get(app["name"], {})


class Plan(NamedTuple):
    """What is to be done about an application.

    :ivar preparing: the steps before anything in service is touched.
    :ivar trying: those of the candidate.
    :ivar switching: those of the switch.
    :ivar cleaning: those after its proof.
    :ivar units: {unit: text} of what systemd is to read before it is put in place.
    :ivar fallback: goes back where a failure before the switch calls for it, and says how that
        leaves what is in service.
    """

    preparing: list[Step]
    trying: list[Step]
    switching: list[Step]
    cleaning: list[Step]
    units: dict[str, str]
    fallback: Callable[[], str]

    def steps(self) -> list[Step]:
        """Return all steps, in their order."""
        return [*self.preparing, *self.trying, *self.switching, *self.cleaning]


def obstacles(app: Application, seen: Seen) -> list[Refusal]:
    """Return a Refusal for each thing that an application cannot be had for on this host.

    :param seen: what observe.observe() found.
    """
    taken = Refusal(
        f"address {app['listen']} of application {app['name']}",
        "something that is no socket lies there",
        "Move it away, or let the application listen elsewhere",
    )
    return [*([taken] if seen.is_taken else []), *_of_release(app, seen), *data.obstacles(app)]


def _of_release(app: Application, seen: Seen) -> list[Refusal]:
    """Return a Refusal for a release that is named by its id and cannot be had from this host."""
    if seen.releases.state == "intact" or not release.is_id(app["digest"]):
        return []
    on_disk = map(os.path.basename, seen.releases.on_disk)
    names = [name for name in on_disk if release.is_id(name) and name != app["digest"]]
    return [
        Refusal(
            f"release {app['digest']} of application {app['name']}",
            f"{app['release']} is not on this host"
            if seen.releases.state == "absent"
            else f"{app['release']} was changed since it was placed",
            f"Kept there are {', '.join(names)}: name one of them, or none to place the source's"
            if names
            else "No other is kept there; name none to place the source's",
        )
    ]


def needs(app: Application, seen: Seen) -> list[str]:
    """Return the digest of the release that is to be placed, if any."""
    return [] if seen.releases.state == "intact" else [app["digest"]]


def plan(app: Application, seen: Seen, keep: int, means: Means) -> Plan:
    """Return the Plan.

    :param seen: what observe.observe() found.
    :param keep: how many earlier releases stay.
    """
    is_mended = seen.releases.state == "changed" and app["release"] in seen.releases.served[:1]
    fallback = functools.partial(rollback.before_the_switch, seen.before, is_mended)
    trying = _trying(app, seen, means, fallback)
    units = dict(app["units"]) if _written(app, seen) else {}
    if trying and app["candidate"] is not None:
        units[candidate.unit_of(app["name"])] = app["candidate"]
    return Plan(
        _preparing(app, seen, means),
        trying,
        _switching(app, seen, means),
        _cleaning(app, seen, keep),
        units,
        fallback,
    )


def _preparing(app: Application, seen: Seen, means: Means) -> list[Step]:
    todo, account = [], seen.account
    if seen.candidate_left:
        says = f"remove the candidate of {app['name']} that an earlier run left"
        todo.append(Step(says, functools.partial(candidate.remove, app["name"], means.run)))
    if not account["exists"]:
        create = functools.partial(actions.create_user, app, seen.has_group, means.run)
        todo.append(Step(f"create user {app['user']}", create))
    elif account["uid"] < _FIRST_PERSON and account["shell"] != service.NOLOGIN:
        says = f"set the shell of user {app['user']} to {service.NOLOGIN}"
        todo.append(Step(says, functools.partial(actions.forbid_login, app, means.run)))
    if not seen.is_private:
        says = f"make {service.releases_of(app)} a folder that only root writes"
        todo.append(Step(says, functools.partial(actions.make_releases, app)))
    for path in seen.folders_lacking:
        says = f"make {path} for user {app['user']}"
        todo.append(Step(says, functools.partial(data.make, app, path)))
    if seen.releases.state != "intact":
        verb = "unpack" if seen.releases.state == "absent" else "replace the changed"
        place = functools.partial(actions.place_release, app, means.archives)
        todo.append(Step(f"{verb} release {app['release']}", place))
    return todo


def _trying(app: Application, seen: Seen, means: Means, fallback: Callable[[], str]) -> list[Step]:
    text = app["candidate"]
    if text is None or (_is_active(app, seen) and not _changed(seen)):
        return []
    secrets = means.secrets_of(app)
    try_out = functools.partial(candidate.try_out, app, text, secrets, fallback, means.run)
    return [Step(f"try release {app['release']} as a candidate", try_out)]


def _switching(app: Application, seen: Seen, means: Means) -> list[Step]:
    removed, written = seen.unwanted_units, _written(app, seen)
    todo = _secret_steps(app, seen, means)
    for unit in removed:
        remove = functools.partial(actions.remove_unit, unit, means.run)
        todo.append(Step(f"remove {service.unit_path(unit)}", remove))
    for unit in written:
        write = functools.partial(actions.write_unit, unit, app["units"][unit])
        todo.append(Step(f"write {service.unit_path(unit)}", write))
    forgotten = any(state.get("NeedDaemonReload") == "yes" for state in seen.states.values())
    if removed or written or forgotten:
        todo.append(Step("reload systemd", _tell(means, "daemon-reload")))
    for unit in service.units_of(app):
        if seen.states.get(unit, {}).get("UnitFileState") != "enabled":
            todo.append(Step(f"enable {unit}", _tell(means, "enable", unit)))
    if not seen.listens:
        says = f"listen on {app['listen']} by {service.socket_of(app)}"
        todo.append(Step(says, functools.partial(actions.open_socket, app, means.run)))
    return todo + _starting(app, seen, means)


def _secret_steps(app: Application, seen: Seen, means: Means) -> list[Step]:
    path = service.secrets_path(app["name"])
    if seen.secrets == "differs":
        write = functools.partial(actions.write_secrets, app, means.secrets_of(app))
        return [Step(f"write {path}", write)]
    if seen.secrets == "unwanted":
        return [Step(f"remove {path}", functools.partial(actions.remove_secrets, app))]
    return []


def _starting(app: Application, seen: Seen, means: Means) -> list[Step]:
    """Return the step that starts or restarts the service, if any."""
    unit = service.service_of(app)
    restart = functools.partial(actions.restart, app, means.run)
    if not _is_active(app, seen):
        return [Step(f"start {unit}", restart)]
    reason = _changed(seen) or ("" if seen.listens else "its socket is opened anew")
    return [Step(f"restart {unit}: {reason}", restart)] if reason else []


def _cleaning(app: Application, seen: Seen, keep: int) -> list[Step]:
    todo = []
    if seen.releases.link != app["release"]:
        says = f"point {service.link_of(app)} at {app['release']}"
        todo.append(Step(says, functools.partial(actions.point_link, app)))
    if seen.socket_left:
        remove = functools.partial(actions.remove_socket, seen.socket_left)
        todo.append(Step(f"remove {seen.socket_left}", remove))
    for path in superfluous(app, seen, keep):
        todo.append(Step(f"remove {path}", functools.partial(actions.remove, path)))
    return todo


def diffs(app: Application, seen: Seen) -> list[dict[str, str]]:
    """Return what changes in the units, as Ansible shows differences."""
    return [
        diff(service.unit_path(unit), seen.units[unit], app["units"][unit])
        for unit in _written(app, seen)
    ]


def superfluous(app: Application, seen: Seen, keep: int) -> list[str]:
    """Return the release folders to be removed.

    Those are unfinished ones, ones that never were in service, and earlier ones beyond ``keep``;
    none that something else than the application uses.

    :param seen: what observe.observe() found.
    """
    on_disk = filter(_is_ours, seen.releases.on_disk)
    others = [path for path in on_disk if path != app["release"]]
    kept = [path for path in seen.releases.served if path in others][:keep]
    return sorted(path for path in others if path not in (*kept, *seen.releases.in_use))


def _is_ours(path: str) -> bool:
    name = os.path.basename(path)
    return release.is_id(name) or name.startswith(service.TEMPORARY)


def _is_active(app: Application, seen: Seen) -> bool:
    return seen.states.get(service.service_of(app), {}).get("ActiveState") == "active"


def _changed(seen: Seen) -> str:
    """Return what a running service is to be switched over for, as one phrase; '' for nothing."""
    if seen.restart:
        return seen.restart
    if seen.releases.state != "intact":
        return "its release is replaced"
    return "its environment was repaired after it started" if seen.repaired else ""


def _written(app: Application, seen: Seen) -> list[str]:
    """Return the units whose files are to be written."""
    return [unit for unit in app["units"] if seen.units[unit] != app["units"][unit]]


def _tell(means: Means, *words: str) -> Callable[[], None]:
    return functools.partial(systemd.tell, *words, run=means.run)
