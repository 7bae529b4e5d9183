# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a role placed on a host, and whether it is still there as placed.

A manifest is a list of plain dicts, each with a ``kind``. The functions named
after a kind make an entry by looking at the host; :func:`drift` compares a
manifest with the host and says what differs, and of which kind that is.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..conda import prefixes
from ..facts_shape import Drift
from ..packages import database, stack_packages
from ..system import accounts, commands, files, processes, safe_paths, systemd
from ..system import drop_ins as system_drop_ins
from ..system.commands import Run
from ..system.root import Root

_SHOWN = 5
# Entries for which systemd is asked of a unit.
_OF_UNITS = ("unit", "fresh", "account")
# What an entry of each kind has beside it, and of which type; None is no text.
_OWNED = {"path": str, "owner": str, "group": str, "mode": str}
_ENTRIES: dict[str, dict[str, Any]] = {
    "file": {**_OWNED, "sha256": str},
    "tree": {**_OWNED, "sha256": str, "ignore": list},
    "directory": _OWNED,
    "link": {"path": str, "target": str},
    "presence": {"path": str},
    "absence": {"path": str},
    "environment": {"path": str, "conda": list, "dists": list},
    "unit": {"name": str, "active": (str, type(None)), "enabled": (str, type(None)),
             "mark": (str, type(None))},
    "fresh": {"name": str, "path": str},
    "drop_ins": {"name": str, "files": dict},
    "account": {"name": str, "user": str},
    "user": {"name": str, "home": str, "shell": str},
    "package": {"name": str},
    "packages": {"versions": dict},
}  # fmt: skip


def is_sound(entries: object) -> bool:
    """Say whether something is a manifest: entries of known kinds, each with what it needs."""
    return isinstance(entries, list) and all(map(_is_entry, entries))


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    kind = entry.get("kind")
    fields = _ENTRIES.get(kind) if isinstance(kind, str) else None
    return fields is not None and all(
        name in entry and _is_of(entry[name], kinds) for name, kinds in fields.items()
    )


def _is_of(value: object, kinds: Any) -> bool:
    """Say whether a value is of a type, all that is in it is text, and no path has a NUL in it."""
    inside = value.items() if isinstance(value, dict) else [(part, "") for part in _parts(value)]
    texts = [text for pair in inside for text in pair]
    has_nul = isinstance(value, str) and "\0" in value
    return isinstance(value, kinds) and all(isinstance(text, str) for text in texts) and not has_nul


def _parts(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def file(path: str) -> dict[str, Any]:
    """Return the entry of a regular file: digest, owner, group and mode."""
    owner, group, mode = files.ownership(path)
    return {
        "kind": "file",
        "path": path,
        "sha256": files.sha256_of_file(path),
        "owner": owner,
        "group": group,
        "mode": mode,
    }


def presence(path: str) -> dict[str, Any]:
    """Return the entry of a file or link that is to be there, whatever is in it."""
    return {"kind": "presence", "path": path}


def absence(path: str) -> dict[str, Any]:
    """Return the entry of a path at which nothing is to be."""
    return {"kind": "absence", "path": path}


def directory(path: str) -> dict[str, Any]:
    """Return the entry of a directory: owner, group and mode, not what is in it."""
    owner, group, mode = files.ownership(path)
    return {"kind": "directory", "path": path, "owner": owner, "group": group, "mode": mode}


def tree(path: str, ignore: Collection[str] = ()) -> dict[str, Any]:
    """Return the entry of a folder with everything in it, but for names in ``ignore``."""
    return dict(
        directory(path), kind="tree", ignore=list(ignore), sha256=files.sha256_of_tree(path, ignore)
    )


def link(path: str) -> dict[str, Any]:
    """Return the entry of a symbolic link: where it points."""
    return {"kind": "link", "path": path, "target": os.readlink(path)}


def environment(path: str) -> dict[str, Any]:
    """Return the entry of a conda prefix: whose it is, its conda packages and distributions."""
    return dict(
        directory(path),
        kind="environment",
        conda=prefixes.conda_package_names(path),
        dists=prefixes.dist_names(path),
    )


def unit(
    name: str, active: str | None, enabled: str | None, mark: str | None = None
) -> dict[str, Any]:
    """Return the entry of a systemd unit that is to stay in the given states.

    :param active: the ActiveState wanted, such as 'active'. Not looked at where it is None.
    :param enabled: the UnitFileState wanted. A unit of a kind that nobody enables is as good as
        'enabled', see systemd.starts_at_boot.
    :param mark: what the running main process is to have in the variable systemd.UNIT_MARK: the
        digest of the unit that it was started from. Not looked at where it is None.
    """
    return {"kind": "unit", "name": name, "active": active, "enabled": enabled, "mark": mark}


def fresh(unit_name: str, path: str) -> dict[str, Any]:
    """Return the entry of a running unit whose main process is younger than a file's last change.

    :param unit_name: the service; one that does not run is as good.
    :param path: the file; one that is not there is older than everything.
    """
    return {"kind": "fresh", "name": unit_name, "path": path}


def drop_ins(unit_name: str) -> dict[str, Any]:
    """Return the entry of what changes a unit besides its own file: none more, none less."""
    return {"kind": "drop_ins", "name": unit_name, "files": system_drop_ins.of(unit_name)}


def account(unit_name: str, name: str) -> dict[str, Any]:
    """Return the entry of a unit whose main process is to run as a user, where it runs."""
    return {"kind": "account", "name": unit_name, "user": name}


def user(name: str) -> dict[str, Any]:
    """Return the entry of a user account: its home and shell."""
    account = pwd.getpwnam(name)
    return {"kind": "user", "name": name, "home": account.pw_dir, "shell": account.pw_shell}


def package(name: str) -> dict[str, Any]:
    """Return the entry of a package of the distribution that is to be installed."""
    return {"kind": "package", "name": name}


def packages(versions: dict[str, str]) -> dict[str, Any]:
    """Return the entry of packages of the GPU stack that are to stay at their versions.

    :param versions: {name: version}, see stack_packages.installed.
    """
    return {"kind": "packages", "versions": versions}


def notes(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each thing in a manifest that is not ours, is there and matters."""
    return [
        f"unit {entry['name']} is changed by {system_drop_ins.says(path)}"
        for entry in entries
        if entry["kind"] == "drop_ins"
        for path in system_drop_ins.of(entry["name"])
        if path in entry["files"]
    ]


def drifted(kind: str, of: str, sentences: Iterable[str]) -> list[Drift]:
    """Return what differs from a manifest as rows of one kind; facts_shape.Drift has the kinds.

    :param of: the path, unit, package or user that it is about.
    """
    return [{"kind": kind, "of": of, "says": says} for says in sentences]


def drift(entries: Sequence[Mapping[str, Any]], run: Run = commands.run) -> list[Drift]:
    """Return a row for each way the host differs from a manifest; [] when it matches.

    :param entries: the manifest.
    :param run: what runs ``systemctl`` and the package database, as commands.run does.
    """
    packages = [entry["name"] for entry in entries if entry["kind"] == "package"]
    found: list[Drift] = []
    lacking: Collection[str] = []
    try:
        lacking = database.missing(packages, run)
    except commands.NotRun as refusal:
        # Whoever is to see to it asks again, and ends there.
        found += drifted("package", "", [str(refusal)])
    names = [entry["name"] for entry in entries if entry["kind"] in _OF_UNITS]
    units = systemd.show(
        names, ("ActiveState", "UnitFileState", "NeedDaemonReload", "MainPID"), run
    )
    for entry in entries:
        kind, of = entry["kind"], entry.get("name") or entry.get("path", "")
        if kind in _OF_UNITS:
            found += _unit_drift(entry, units.get(of, {}))
        elif kind == "drop_ins":
            found += drifted("drop-in", of, _drop_ins_drift(entry))
        elif kind == "user":
            found += drifted(kind, of, _user_drift(entry))
        elif kind == "packages":
            found += _packages_drift(entry, stack_packages.installed(Root(run=run)))
        elif kind == "package":
            found += drifted(kind, of, [f"package {of} is gone"] if of in lacking else [])
        elif kind == "presence":
            there = os.path.lexists(of)
            found += drifted("file", of, [] if there else [f"file {of} is gone"])
        elif kind == "absence":
            found += drifted(kind, of, [f"{of} is back"] if os.path.lexists(of) else [])
        else:
            found += drifted(kind, of, _path_drift(entry))
    return found


def _unit_drift(entry: Mapping[str, Any], state: Mapping[str, str]) -> list[Drift]:
    """Return how a unit differs from an entry of one of _OF_UNITS."""
    if entry["kind"] == "fresh":
        return drifted("unit-process", entry["name"], _fresh_drift(entry, state))
    if entry["kind"] == "account":
        return drifted("unit-account", entry["name"], _account_drift(entry, state))
    return _state_drift(entry, state)


def _state_drift(entry: Mapping[str, Any], state: Mapping[str, str]) -> list[Drift]:
    found: list[Drift] = []
    name = entry["name"]
    for key, told, kind in (
        ("active", "ActiveState", "unit-state"),
        ("enabled", "UnitFileState", "unit-boot"),
    ):
        is_now = state.get(told) or "unknown"
        is_as_good = (key, entry[key]) == ("enabled", "enabled") and systemd.starts_at_boot(state)
        if entry[key] not in (None, is_now) and not is_as_good:
            found += drifted(kind, name, [f"unit {name} is {is_now}, should be {entry[key]}"])
    if state.get("NeedDaemonReload") == "yes":
        says = f"unit {name} was changed on disk and not reloaded"
        found += drifted("unit-reload", name, [says])
    if entry["mark"] and state.get("ActiveState") == "active":
        started = systemd.environment_of(state.get("MainPID")) or {}
        if started.get(systemd.UNIT_MARK) != entry["mark"]:
            says = f"unit {name} runs what another text of it started"
            found += drifted("unit-process", name, [says])
    return found


def _fresh_drift(entry: Mapping[str, Any], state: Mapping[str, str]) -> list[str]:
    if not processes.started_before([state.get("MainPID", "0")], entry["path"]):
        return []
    return [f"unit {entry['name']} runs since before {entry['path']} was written"]


def _drop_ins_drift(entry: Mapping[str, Any]) -> list[str]:
    left, found = entry["files"], system_drop_ins.of(entry["name"])
    changed = [path for path in found if found[path] != left.get(path)]
    return [
        *(f"unit {entry['name']} is changed by {system_drop_ins.says(path)}" for path in changed),
        *(
            f"{path}, which changed unit {entry['name']}, is gone"
            for path in left
            if path not in found
        ),
    ]


def _account_drift(entry: Mapping[str, Any], state: Mapping[str, str]) -> list[str]:
    found = processes.user_of(state.get("MainPID"))
    if found is None or accounts.are_one(found, entry["user"]):
        return []
    return [f"unit {entry['name']} runs as {found}, should run as {entry['user']}"]


def _user_drift(entry: Mapping[str, Any]) -> list[str]:
    try:
        found = user(entry["name"])
    except KeyError:
        return [f"user {entry['name']} is gone"]
    return _differences(f"user {entry['name']}", entry, found, ("home", "shell"))


def _packages_drift(entry: Mapping[str, Any], found: Mapping[str, Any]) -> list[Drift]:
    rows: list[Drift] = []
    for name, version in entry["versions"].items():
        if name not in found:
            rows += drifted("package", name, [f"package {name} is gone"])
        elif found[name] != version:
            says = f"package {name} is {found[name]}, should be {version}"
            rows += drifted("package", name, [says])
    return rows


def _path_drift(entry: Mapping[str, Any]) -> list[str]:
    path = entry["path"]
    subject = f"{entry['kind']} {path}"
    try:
        if entry["kind"] in ("file", "tree"):
            # What somebody else has put there is not read: it may have no end.
            sentences = _differences(subject, entry, directory(path), ("owner", "group", "mode"))
            if sentences:
                return sentences
        if entry["kind"] == "tree":
            flaw = safe_paths.why_unsafe_below(path)
            if flaw:
                return [f"{subject} is not root's alone: {flaw}"]
            found = tree(path, entry["ignore"])
        else:
            found = {
                "file": file,
                "directory": directory,
                "link": link,
                "environment": environment,
            }[entry["kind"]](path)
    except FileNotFoundError:
        return [f"{subject} is gone"]
    except OSError as error:
        return [f"{subject} cannot be read: {error.strerror}"]
    differing = _differences(subject, entry, found, ("target", "owner", "group", "mode", "sha256"))
    return differing + (_set_drift(subject, entry, found) if entry["kind"] == "environment" else [])


def _differences(
    subject: str, wanted: Mapping[str, Any], found: Mapping[str, Any], keys: Iterable[str]
) -> list[str]:
    sentences = []
    for key in keys:
        if key in wanted and wanted[key] != found[key]:
            if key == "sha256":
                sentences.append(f"{subject} was changed")
            else:
                sentences.append(f"{subject} has {key} {found[key]}, should be {wanted[key]}")
    return sentences


def _set_drift(subject: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    sentences = []
    for key in ("conda", "dists"):
        missing = sorted(set(wanted[key]) - set(found[key]))
        extra = sorted(set(found[key]) - set(wanted[key]))
        if missing:
            sentences.append(f"{subject} lacks {_some(missing)}")
        if extra:
            sentences.append(f"{subject} has unasked {_some(extra)}")
    return sentences


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
