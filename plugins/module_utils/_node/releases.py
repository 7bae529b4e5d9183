# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host keeps of releases and builds, and which of them are at work.

Looked at on the host itself; what is not there is an empty answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .conda import builds
from .gunicorn_app import release as app_release
from .gunicorn_app import service as app_service
from .system import commands, in_use, own_paths, systemd, unfinished_folder
from .system.commands import Run

_BLOCK = 512


class Release(TypedDict):
    """A release that is kept."""

    id: str
    placed: int
    intact: bool


class Application(TypedDict):
    """What is kept of an application, see :func:`applications`."""

    name: str
    dir: str
    releases: list[Release]
    named: str
    runs: str


class Build(TypedDict):
    """A build that is kept."""

    id: str
    built: int
    bytes: int
    own: int
    whole: bool
    users: list[str]


class Environment(TypedDict):
    """What is kept of an environment, see :func:`environments`."""

    name: str
    dir: str
    link: str
    builds: list[Build]


class Kept(TypedDict):
    """What a host answers."""

    applications: list[Application]
    environments: list[Environment]


def applications(
    items: Sequence[Mapping[str, Any]], proc: str = "/proc", run: Run = commands.run
) -> list[dict[str, Any]]:
    """Return for each application what is kept of it and what is at work.

    Each is {name, dir, releases, named, runs}: ``releases`` are {id, placed, intact}, newest
    first, with the Unix time at which each was put into service, observe.NEVER where it was not;
    ``named`` is the folder that its service is to start in, ``runs`` the one that its process works
    in, "" where there is none.

    :param items: [{name, dir}].
    :param run: what runs ``systemctl``.
    """
    services = [app_service.service_of(item) for item in items]
    states = systemd.show(services, ("WorkingDirectory", "MainPID"), run)
    return [
        {
            "name": item["name"],
            "dir": item["dir"],
            "releases": _releases(os.path.join(item["dir"], "releases")),
            "named": states.get(service, {}).get("WorkingDirectory", ""),
            "runs": _folder_of(states.get(service, {}).get("MainPID"), proc),
        }
        for item, service in zip(items, services)
    ]


def environments(
    folder: str,
    proc: str = "/proc",
    unit_dir: str = in_use.UNIT_DIR,
    state_dir: str = own_paths.STATE_DIR,
) -> list[dict[str, Any]]:
    """Return for each environment that has builds in a folder what they are and who uses them.

    Each is {name, dir, link, builds}: ``link`` is the id of the build that the environment's link
    leads to, or else its target, "" where there is no link; ``builds`` are {id, built, bytes, own,
    whole, users}, newest first. ``built`` is a Unix time, ``bytes`` is what the build takes on the
    disk, and ``own`` the part of it that would be free without it; ``whole`` is false of one that
    was never finished, or that cannot be gone back to; ``users`` are units and programs.
    """
    entries = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = sorted({name for name in map(builds.name_of, entries) if name is not None})
    paths = builds.builds_of(names, folder)
    users = in_use.users(paths, proc, unit_dir)
    return [
        {
            "name": name,
            "dir": folder,
            "link": _target(os.path.join(folder, name)),
            "builds": sorted(
                (
                    _build(path, users[path], state_dir)
                    for path in paths
                    if builds.name_of(path) == name
                ),
                key=lambda build: -build["built"],
            ),
        }
        for name in names
    ]


def _releases(folder: str) -> list[dict[str, Any]]:
    # A link there is a user's, and leads where nothing of this application is.
    is_folder = os.path.isdir(folder) and not os.path.islink(folder)
    entries = os.listdir(folder) if is_folder else []
    releases = [
        {
            "id": name,
            "placed": int(os.lstat(path).st_mtime),
            "intact": _is_placed(path) and app_release.id_of(app_release.digest_of(path)) == name,
        }
        for name, path in ((name, os.path.join(folder, name)) for name in entries)
        if app_release.is_id(name) and os.path.isdir(path)
    ]
    return sorted(releases, key=lambda release: -release["placed"])


def _is_placed(path: str) -> bool:
    """Say whether root put a release there: what a user did may have no end."""
    status = os.lstat(path)
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _folder_of(pid: str | None, proc: str) -> str:
    """Return the folder that a process works in, "" where there is no process."""
    try:
        return os.readlink(os.path.join(proc, pid, "cwd")) if pid and int(pid) else ""
    except OSError:
        return ""


def _target(link: str) -> str:
    if not os.path.islink(link):
        return ""
    target = os.readlink(link)
    return _id_of(target) if builds.name_of(target) else target


def _id_of(prefix: str) -> str:
    return prefix.rpartition("-")[2]


def _build(prefix: str, users: Sequence[str], state_dir: str) -> dict[str, Any]:
    taken, own = disk_use(prefix)
    return {
        "id": _id_of(prefix),
        "built": int(_changed(prefix)),
        "bytes": taken,
        "own": own,
        "whole": not unfinished_folder.is_unfinished(prefix, state_dir) and _is_recorded(prefix),
        "users": users,
    }


def _is_recorded(prefix: str) -> bool:
    try:
        return bool(builds.read_record(prefix))
    except ValueError:
        return False


def _changed(prefix: str) -> float:
    """Return when a build was last changed by us, or else by conda, or else at all."""
    for path in (builds.record_of(prefix), os.path.join(prefix, "conda-meta", "history")):
        if os.path.isfile(path):
            return os.stat(path).st_mtime
    return os.stat(prefix).st_mtime


def disk_use(folder: str) -> tuple[int, int]:
    """Return (bytes that a folder takes on the disk, those of them that nothing outside shares).

    A file with several names counts once; it is shared where some of its names lie elsewhere, as
    those of conda's package cache do.
    """
    taken = own = 0
    names: dict[int, int] = {}
    for parent, _folders, entries in os.walk(folder):
        size = os.lstat(parent).st_blocks * _BLOCK
        taken, own = taken + size, own + size
        for entry in entries:
            status = os.lstat(os.path.join(parent, entry))
            size = status.st_blocks * _BLOCK
            seen = names[status.st_ino] = names.get(status.st_ino, 0) + 1
            taken += size if seen == 1 else 0
            own += size if seen == status.st_nlink else 0
    return taken, own
