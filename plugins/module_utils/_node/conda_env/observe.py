# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of its environments."""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

from ..conda import builds, contents, path_state, prefixes
from ..conda.wanted import Environment as Wanted
from ..conda.wanted import KeptBuild
from ..packages import database
from ..records import manifest
from ..refusal import Collected, Refusal
from ..system import files, folders, in_use, safe_paths, unfinished_folder
from ..system.commands import Run
from .wanted import Absent, Complete, State

_OPEN = ("root", "root", "0755")


class Environment(NamedTuple):
    """What a host has of an environment that is wanted.

    :ivar verdict: what lies at its prefix, see prefixes.verdict().
    :ivar contents: of a build that is there, how it differs from its lock; else None.
    :ivar is_recorded: whether that build says what it was built from.
    :ivar link: what the link to the environment points to, None where there is no link.
    :ivar is_blocked: whether something else lies where that link is to be.
    :ivar serving: the other build that the link points to, None for none.
    :ivar serving_labels: the names of what that holds.
    :ivar flaw: why others could change the build that is there, '' where nobody could.
    """

    verdict: str
    contents: contents.Contents | None
    is_recorded: bool
    link: str | None
    is_blocked: bool
    serving: str | None
    serving_labels: list[str]
    flaw: str = ""


class Leaving(NamedTuple):
    """What a host has of an environment that is to go.

    :ivar builds: the paths of its builds, finished or not.
    :ivar is_linked: whether there is a link to it.
    :ivar users: {path: who} of those of them that something lives in.
    """

    builds: list[str]
    is_linked: bool
    users: dict[str, str]


class Build(NamedTuple):
    """An earlier build of an environment that is wanted.

    :ivar is_finished: whether it ever was.
    :ivar changed: when it was last built, repaired, turned to or turned away from; a Unix time.
    :ivar is_used: whether something lives in it.
    """

    path: str
    is_finished: bool
    changed: float
    is_used: bool


class Seen(NamedTuple):
    """What a host has of its environments.

    :ivar lacking: the packages of the distribution that are missing for those that are wanted.
    :ivar has_folder: whether there is the folder of environments.
    :ivar is_open: whether that belongs to root and can be read by all.
    :ivar flaw: why it is no folder to put environments into, '' where it is one.
    :ivar entries: the paths of all that lies in it.
    :ivar environments: by name, those that are wanted.
    :ivar leaving: by name, those that are to go.
    :ivar earlier: builds of those that are wanted besides the wanted ones, by their paths.
    """

    lacking: list[str]
    has_folder: bool
    is_open: bool
    flaw: str
    entries: frozenset[str]
    environments: dict[str, Environment]
    leaving: dict[str, Leaving]
    earlier: list[Build]


def complete(wanted: State, state_dir: str) -> Complete:
    """Return the wanted state with the locks of builds that are only named, read from them.

    :param state_dir: where the notes on unfinished builds lie.
    :raises Refusal: such a build is not kept here, or does not say what it was built from.
    """
    collected = Collected()
    environments = [
        env if env["lock"] is not None else collected.ask(_recorded, env, state_dir)
        for env in wanted["environments"]
    ]
    collected.refuse()
    return {**wanted, "environments": [env for env in environments if env]}


def _recorded(env: KeptBuild, state_dir: str) -> Wanted:
    if _verdict(env["prefix"], state_dir) != "conda":
        raise builds.not_kept(env)
    try:
        lock, dists = builds.read_record(env["prefix"])
    except ValueError as error:
        raise Refusal(
            f"environment {env['name']}: build {os.path.basename(env['prefix'])}",
            str(error),
            "Name the lock it was made from, or another build",
        ) from error
    return {**env, "lock": lock, "dists": dists}


def observe(wanted: Complete, check_mode: bool, state_dir: str, run: Run) -> Seen:
    """Look at all that planning needs.

    :param wanted: the wanted state, complete.
    :param check_mode: the applications that are to go are still there, and count as gone.
    :param state_dir: where the notes on unfinished builds lie.
    :param run: what runs commands.
    """
    folder = wanted["dir"]
    has_folder = os.path.isdir(folder)
    is_open = has_folder and files.ownership(folder) == _OPEN
    gone = wanted["leaving"] if check_mode else []
    return Seen(
        _lacking(wanted, run),
        has_folder,
        is_open,
        _flaw(folder, has_folder and not is_open, state_dir) if wanted["environments"] else "",
        frozenset(os.path.join(folder, name) for name in os.listdir(folder))
        if has_folder
        else frozenset(),
        {env["name"]: _environment(env, state_dir) for env in wanted["environments"]},
        {env["name"]: _leaving(env, folder, gone, state_dir) for env in wanted["absent"]},
        _earlier(wanted, state_dir),
    )


def in_place(wanted: Complete, state_dir: str, run: Run) -> list[dict[str, Any]]:
    """Return what is in place now, as entries of records/manifest.py.

    The parameters are those of :func:`observe`.
    """
    entries = [
        manifest.absence(env["link"])
        for env in wanted["absent"]
        if not os.path.lexists(env["link"])
    ]
    if not wanted["environments"]:
        return entries
    if os.path.isdir(wanted["dir"]):
        entries.append(manifest.directory(wanted["dir"]))
    lacking = _lacking(wanted, run)
    entries += [manifest.package(name) for name in wanted["system_packages"] if name not in lacking]
    for env in wanted["environments"]:
        if _verdict(env["prefix"], state_dir) == "conda":
            entries.append(manifest.environment(env["prefix"]))
            if os.path.isfile(builds.record_of(env["prefix"])):
                entries.append(manifest.file(builds.record_of(env["prefix"])))
        if os.path.islink(env["link"]):
            entries.append(manifest.link(env["link"]))
    return entries


def _flaw(folder: str, is_to_change: bool, state_dir: str) -> str:
    """Return why a folder is none to put environments into, '' where it is one.

    :param is_to_change: whether it is there, and not as it is to be: what is somebody else's stays
        as it is.
    """
    flaw = safe_paths.why_unsafe(os.path.dirname(folder))
    if flaw or not is_to_change or folders.is_ours(folder):
        return flaw
    entries = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    others = [path for path in entries if not _is_ours(path, state_dir)]
    if others:
        return f"it is not open to all, and holds {others[0]}, which is no environment"
    is_shared = not entries and os.stat(folder).st_mode & stat.S_IWOTH
    return "anybody may put something there" if is_shared else ""


def _is_ours(path: str, state_dir: str) -> bool:
    return (
        os.path.islink(path)
        or prefixes.is_conda(path)
        or unfinished_folder.is_unfinished(path, state_dir)
    )


def _lacking(wanted: Complete, run: Run) -> list[str]:
    """Return the packages of the distribution that are missing; none where nothing is built."""
    if not wanted["environments"]:
        return []
    return database.missing(wanted["system_packages"], run)


def _environment(env: Wanted, state_dir: str) -> Environment:
    verdict = _verdict(env["prefix"], state_dir)
    link = os.readlink(env["link"]) if os.path.islink(env["link"]) else None
    serving = _serving(env, link)
    return Environment(
        verdict,
        contents.Contents(env) if verdict == "conda" else None,
        builds.is_recorded(env),
        link,
        link is None and os.path.lexists(env["link"]),
        serving,
        contents.labels_of(serving) if serving else [],
        safe_paths.why_unsafe(env["prefix"]) if verdict == "conda" else "",
    )


def _serving(env: Wanted, link: str | None) -> str | None:
    if link is None:
        return None
    path = os.path.join(os.path.dirname(env["link"]), link)
    is_another = path != env["prefix"] and builds.name_of(path) == env["name"]
    return path if is_another and prefixes.is_conda(path) else None


def _leaving(env: Absent, folder: str, gone: list[str], state_dir: str) -> Leaving:
    paths = [
        path
        for path in builds.builds_of({env["name"]}, folder)
        if unfinished_folder.is_unfinished(path, state_dir) or prefixes.is_conda(path)
    ]
    users = {
        **in_use.by_units([*paths, env["link"]], besides=gone),
        **in_use.by_processes(paths, besides=gone),
    }
    return Leaving(paths, os.path.islink(env["link"]), users)


def _earlier(wanted: Complete, state_dir: str) -> list[Build]:
    current = {env["prefix"] for env in wanted["environments"]}
    names = {env["name"] for env in wanted["environments"]}
    paths = [path for path in builds.builds_of(names, wanted["dir"]) if path not in current]
    used = {**in_use.by_processes(paths), **in_use.by_units(paths)}
    unfinished = {path for path in paths if unfinished_folder.is_unfinished(path, state_dir)}
    return [
        Build(path, path not in unfinished, os.stat(path).st_mtime, path in used)
        for path in paths
        if path in unfinished or prefixes.is_conda(path)
    ]


def _verdict(prefix: str, state_dir: str) -> str:
    return prefixes.verdict(path_state.of(prefix, state_dir))
