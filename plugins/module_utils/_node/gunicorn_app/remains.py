# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of applications that are to go."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import pwd
from typing import Any, NamedTuple

from ..records import manifest
from ..system import commands, files, folders, in_use, systemd
from ..system.commands import Run
from . import candidate, rollback, service, surroundings
from . import release as app_release
from .observe import is_socket, used_by_others
from .wanted import Identity


class Folder(NamedTuple):
    """A folder that may become empty.

    :ivar is_ours: whether we made it.
    :ivar entries: the paths of what lies in it.
    """

    path: str
    is_ours: bool
    entries: frozenset[str]


class Remains(NamedTuple):
    """What a host has of an application that is to go.

    :ivar foreign: paths of its units' files that we did not write.
    :ivar user: who its service was set up to run as, "" where nothing tells.
    :ivar dir: the folder that its service was set up with, "" where nothing tells.
    :ivar states: {unit: {property: value}} as systemd says.
    :ivar unit_files: {unit: paths by which systemd knows it: links, drop-ins, its file}.
    :ivar socket: the unix socket on which it is reached, "" for none.
    :ivar notes: paths of its secrets, and of what was noted for later runs.
    :ivar releases: paths of its releases, finished or not.
    :ivar users: {release: who} of those that something else uses.
    :ivar is_linked: whether there is the link to the release in service.
    :ivar folders: that of its releases, and its own, where they are folders.
    :ivar data: those that it could write to.
    :ivar parents: the folders above its own and above those, the nearest of each first.
    """

    foreign: list[str]
    user: str
    dir: str
    states: dict[str, dict[str, str]]
    unit_files: dict[str, list[str]]
    socket: str
    notes: list[str]
    releases: list[str]
    users: dict[str, str]
    is_linked: bool
    folders: list[Folder]
    data: list[Folder]
    parents: list[list[Folder]]


class Seen(NamedTuple):
    """What a host has of all applications that are to go.

    :ivar applications: by their names.
    :ivar own_users: those users of theirs that we made, and that nothing else runs as or is to.
    """

    applications: dict[str, Remains]
    own_users: set[str]


def observe(items: list[Identity], run: Run = commands.run) -> Seen:
    """Look at all that planning needs."""
    own = [unit for item in items for unit in units_of(item)]
    users = {item["user"] for item in items}
    return Seen(
        {item["name"]: _remains(item, run) for item in items},
        {user for user in users if _is_removable(user, own)},
    )


def entries(items: list[Identity]) -> list[dict[str, Any]]:
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


def units_of(item: Identity) -> list[str]:
    """Return the names of all units that an application may have left."""
    return [*service.own_units(item), candidate.unit_of(item["name"])]


def unit_place(unit: str, item: Identity) -> str:
    """Return where the file of one of these units lies."""
    if unit == candidate.unit_of(item["name"]):
        return candidate.unit_path(item["name"])
    return service.unit_path(unit)


def _remains(item: Identity, run: Run) -> Remains:
    name, units = item["name"], units_of(item)
    own_files = list(map(service.unit_path, service.own_units(item)))
    socket_text, service_text = map(_our_text, own_files)
    socket = service.unix_socket_of(socket_text)
    release = service.setting(service_text, "WorkingDirectory")
    notes = (
        service.secrets_path(name),
        candidate.secrets_path(name),
        rollback.note_of(name),
        surroundings.note_of(name),
    )
    releases = _releases(item)
    data = service.setting(service_text, "BindPaths").split()
    return Remains(
        foreign=[path for path in own_files if os.path.lexists(path) and not _our_text(path)],
        user=service.setting(service_text, "User"),
        dir=os.path.dirname(os.path.dirname(release)),
        states=systemd.show(units, ("ActiveState", "FragmentPath", "NeedDaemonReload"), run),
        unit_files={unit: _files_of(unit, unit_place(unit, item)) for unit in units},
        socket=socket if is_socket(socket) else "",
        notes=[path for path in notes if os.path.lexists(path)],
        releases=releases,
        users=used_by_others(releases, name),
        is_linked=os.path.islink(service.link_of(item)),
        folders=[
            _folder(path)
            for path in (service.releases_in(item["dir"]), item["dir"])
            if os.path.isdir(path) and not os.path.islink(path)
        ],
        data=[_folder(path) for path in data if os.path.isdir(path) and not os.path.islink(path)],
        parents=[_above(path) for path in (item["dir"], *data)],
    )


def _above(path: str) -> list[Folder]:
    above = map(str, pathlib.PurePath(path).parents)
    return [_folder(folder) for folder in above if os.path.lexists(folder)]


def _folder(path: str) -> Folder:
    return Folder(path, folders.is_ours(path), frozenset(_entries(path)))


def _entries(folder: str) -> list[str]:
    if os.path.islink(folder) or not os.path.isdir(folder):
        return []
    return [os.path.join(folder, name) for name in os.listdir(folder)]


def _releases(item: Identity) -> list[str]:
    return sorted(
        path
        for path in _entries(service.releases_in(item["dir"]))
        if app_release.is_id(os.path.basename(path))
        or os.path.basename(path).startswith(service.TEMPORARY)
    )


def _files_of(unit: str, path: str) -> list[str]:
    found = glob.glob(os.path.join(systemd.UNIT_DIR, "*.wants", unit))
    found += [drop_in for drop_in in glob.glob(f"{path}.d/*") if _our_text(drop_in)]
    return sorted(found) + ([path] if os.path.lexists(path) else [])


def _our_text(path: str) -> str:
    """Return the text of a unit's file or drop-in that we wrote, '' of any other and of none."""
    with contextlib.suppress(OSError):
        text = files.read_text(path, "replace")
        return text if text.startswith(service.OURS) else ""
    return ""


def _is_removable(user: str, own: list[str]) -> bool:
    """Say whether we made an account, and nothing else runs as it or is to."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return False
    return (
        account.pw_gecos == service.ACCOUNT_MARK
        and not in_use.user_by_units(user, besides=own)
        and not in_use.user_by_processes(account.pw_uid, besides=own)
    )
