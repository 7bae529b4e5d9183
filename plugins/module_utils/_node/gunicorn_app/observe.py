# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of an application."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Sequence
from typing import NamedTuple

from ..conda import builds, contents
from ..facts_shape import Account, Listening
from ..system import (
    accounts,
    commands,
    files,
    folders,
    in_use,
    listening,
    processes,
    safe_paths,
    systemd,
)
from ..system.commands import Run
from . import candidate, data, process, release, rollback, service, surroundings
from .wanted import Application

# The time of a release's folder that never was in service.
NEVER = 0
_STATE = ("ActiveState", "UnitFileState", "NeedDaemonReload", "MainPID")


class Releases(NamedTuple):
    """What a host has of an application's releases.

    :ivar state: "absent", "intact" or "changed": that of the one that is wanted.
    :ivar link: what the link to the release in service names, None where there is none.
    :ivar on_disk: paths in the folder of releases, see :func:`releases_on_disk`.
    :ivar served: the releases that ever were in service, see :func:`served`.
    :ivar in_use: earlier releases that something else than the application uses.
    """

    state: str
    link: str | None
    on_disk: list[str]
    served: list[str]
    in_use: list[str]


class Seen(NamedTuple):
    """What a host has of an application.

    :ivar account: the row of accounts.survey() for its user.
    :ivar has_group: whether there is a group of the user's name.
    :ivar is_private: whether root alone writes the folder of releases, and the one above it where
        we made that; and whether the user reads it.
    :ivar releases: its releases.
    :ivar secrets: "as wanted", "differs", or "unwanted" where there are to be none.
    :ivar units: {unit that is wanted: text of its file, None for none of root's}.
    :ivar unwanted_units: names of units that are there, and the application has no more.
    :ivar states: {unit: {property: value}} as systemd says.
    :ivar is_taken: whether something else than a socket lies where its unix socket is to be.
    :ivar listens: whether the socket unit holds the address, or none is to.
    :ivar socket_left: the unix socket of an earlier address, "" for none.
    :ivar restart: why the running process is not the one that is wanted, "" where it is.
    :ivar repaired: whether its environment was changed after the process started.
    :ivar candidate_left: whether there is anything of a candidate.
    :ivar folders_lacking: folders that it writes to, see data.py, which are not there.
    :ivar drop_ins: what changes its units besides their files, see surroundings.py.
    :ivar before: what was in service, and the way back to it.
    """

    account: Account
    has_group: bool
    is_private: bool
    releases: Releases
    secrets: str
    units: dict[str, str | None]
    unwanted_units: list[str]
    states: dict[str, dict[str, str]]
    is_taken: bool
    listens: bool
    socket_left: str
    restart: str
    repaired: bool
    candidate_left: bool
    folders_lacking: list[str]
    drop_ins: surroundings.DropIns
    before: rollback.Before


def observe(
    app: Application,
    secrets: dict[str, str],
    rows: Sequence[Listening],
    check_mode: bool = False,
    run: Run = commands.run,
) -> Seen:
    """Look at all that planning needs.

    :param secrets: its secrets, {variable: value}.
    :param rows: what listening.survey() found.
    :param check_mode: an environment that is not as its lock says counts as repaired, since a
        real run repairs it before.
    """
    account = accounts.survey([app["user"]], run)[app["user"]]
    states = systemd.show(service.own_units(app), _STATE, run)
    main = states.get(service.service_of(app), {}).get("MainPID", "0")
    under, now = surroundings.noted(app), surroundings.found(app)
    changed = {unit: surroundings.difference(under[unit], now[unit]) for unit in now}
    reason = process.reasons_to_restart(app, process.process(main, app["release"]))
    return Seen(
        account=account,
        has_group=accounts.group_exists(app["user"]),
        is_private=_is_private(app, account),
        releases=_releases(app),
        secrets=_secrets_state(app, service.secrets_text(secrets, app["secrets_digest"])),
        units={unit: _text_of(service.unit_path(unit), "0644") for unit in app["units"]},
        unwanted_units=_unwanted_units(app),
        states=states,
        is_taken=_is_taken(app["listen"]),
        # What changes a socket does so once that is opened anew.
        listens=_listens(app, rows, states) and not changed.get(service.socket_of(app)),
        socket_left=_socket_left(app),
        restart=reason or changed[service.service_of(app)],
        repaired=is_older_than_environment(app, main) or (check_mode and is_damaged(app["prefix"])),
        candidate_left=candidate.is_left(app["name"], run),
        folders_lacking=data.lacking(app),
        drop_ins=now,
        before=rollback.Before(app, run),
    )


def is_older_than_environment(app: Application, main: str) -> bool:
    """Say whether an application was started before its environment was last changed by us.

    Its main process counts. Workers of gunicorn are forks of it, and have what it has loaded:
    gunicorn itself, what the configuration imports, and with ``preload_app`` the application.

    :param main: the id of the main process.
    """
    return processes.started_before([main], builds.record_of(app["prefix"]))


def is_damaged(prefix: str) -> bool:
    """Say whether an environment is not what it was built from: conda_env would repair it."""
    try:
        lock, dists = builds.read_record(prefix)
    except ValueError:
        return False
    return not contents.Contents({"prefix": prefix, "lock": lock, "dists": dists}).is_as_wanted()


def releases_on_disk(folder: str) -> list[str]:
    """Return the paths in a folder of releases, by the times of their folders, the latest first.

    A release is placed with the time NEVER, and touched when it goes into service
    (actions.point_link): after a way back, the one that was left counts by when it served.
    """
    # A link there is a user's, and leads where nothing of this application is.
    if os.path.islink(folder):
        return []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        paths = [os.path.join(folder, name) for name in os.listdir(folder)]
        return sorted(paths, key=lambda path: os.lstat(path).st_mtime, reverse=True)
    return []


def served(app: Application) -> list[str]:
    """Return the releases that ever were in service, the last one first.

    The first one is what the link names, since that was put there after its proof.
    """
    on_disk = releases_on_disk(service.releases_of(app))
    return _served(on_disk, _target_of(service.link_of(app)))


def _served(on_disk: list[str], link: str | None) -> list[str]:
    releases = [path for path in on_disk if release.is_id(os.path.basename(path))]
    first = [path for path in releases if path == link]
    return first + [path for path in releases if path != link and os.lstat(path).st_mtime != NEVER]


def used_by_others(paths: list[str], name: str) -> dict[str, str]:
    """Return {folder: who} of those that a process or unit other than an application's own uses.

    :param name: the application's.
    """
    own = [*service.own_units({"name": name}), candidate.unit_of(name)]
    return {**in_use.by_units(paths, besides=own), **in_use.by_processes(paths, besides=own)}


def _releases(app: Application) -> Releases:
    link = _target_of(service.link_of(app))
    on_disk = releases_on_disk(service.releases_of(app))
    earlier = [path for path in on_disk if path != app["release"]]
    return Releases(
        state=_release_state(app),
        link=link,
        on_disk=on_disk,
        served=_served(on_disk, link),
        in_use=sorted(used_by_others(earlier, app["name"])),
    )


def _unwanted_units(app: Application) -> list[str]:
    """Return the names of units that are there, and the application has no more."""
    return [
        unit
        for unit in service.own_units(app)
        if unit not in app["units"] and os.path.lexists(service.unit_path(unit))
    ]


def _is_private(app: Application, account: Account) -> bool:
    """Say whether releases lie where root alone writes and, beside it, the user's group reads."""
    folder = service.releases_of(app)
    if not account["exists"] or os.path.islink(folder) or not os.path.isdir(folder):
        return False
    group = files.group_name(pwd.getpwuid(account["uid"]).pw_gid)
    is_closed = files.ownership(folder) == ("root", group, "0750")
    return is_closed and not folders.is_given_away(app["dir"])


def _release_state(app: Application) -> str:
    if not os.path.isdir(app["release"]):
        return "absent"
    owned = files.ownership(app["release"]) == ("root", "root", "0755")
    # A release that is named by its id is known by no more than that.
    is_roots = owned and not safe_paths.why_unsafe_below(app["release"])
    same = is_roots and release.digest_of(app["release"]).startswith(app["digest"])
    return "intact" if same else "changed"


def _secrets_state(app: Application, text: str) -> str:
    path = service.secrets_path(app["name"])
    if not text:
        return "unwanted" if os.path.lexists(path) else "as wanted"
    return "as wanted" if _text_of(path, "0600") == text else "differs"


def _text_of(path: str, mode: str) -> str | None:
    """Return the text of a regular file of root's that has this mode, None of anything else."""
    try:
        is_ours = not os.path.islink(path) and files.ownership(path) == ("root", "root", mode)
        return files.read_text(path, "replace") if is_ours else None
    except OSError:
        return None


def _target_of(path: str) -> str | None:
    return os.readlink(path) if os.path.islink(path) else None


def _listens(
    app: Application, rows: Sequence[Listening], states: dict[str, dict[str, str]]
) -> bool:
    """Say whether the socket unit holds the address, or none is to."""
    socket = service.socket_of(app)
    if socket not in app["units"]:
        return True
    is_held = any(
        (row["address"], row["port"]) == listening.parse(app["listen"]) and row["unit"] == socket
        for row in rows
    )
    return is_held and states.get(socket, {}).get("ActiveState") == "active"


def _is_taken(listen: str) -> bool:
    """Say whether a path on which to listen is that of something that is no socket."""
    return listen.startswith("/") and os.path.lexists(listen) and not is_socket(listen)


def _socket_left(app: Application) -> str:
    """Return the unix socket of an earlier address, a file that nobody needs after the change."""
    text = _text_of(service.unit_path(service.socket_of(app)), "0644") or ""
    path = service.unix_socket_of(text)
    return path if path != app["listen"] and is_socket(path) else ""


def is_socket(path: str) -> bool:
    """Say whether a unix socket is at a path, links not followed."""
    return os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode)
