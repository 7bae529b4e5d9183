# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is in a conda prefix, read from its own records: no solver, no subprocess."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..refusal import Refusal
from ..system import files, safe_paths

_DIST_INFO = re.compile(r"(.+)-([^-]+)\.dist-info")


def is_conda(prefix: str) -> bool:
    """Say whether a folder is a conda prefix: conda writes conda-meta/history first of all."""
    return os.path.isfile(os.path.join(prefix, "conda-meta", "history"))


def refuse_unsafe(what: str, prefix: str, option: str, but: Collection[str] = ()) -> None:
    """Refuse to run anything of a prefix that somebody else than root could change.

    :param what: what is to be done with it.
    :param option: the one that names the prefix.
    :param but: as for safe_paths.why_unsafe_tree.
    :raises Refusal: somebody could; see :func:`why_unsafe`.
    """
    safe_paths.refuse(what, why_unsafe(prefix, but), prefix, option)


def why_unsafe(prefix: str, but: Collection[str] = ()) -> str:
    """Return why somebody else than root could change what is run of a prefix; '' where nobody.

    What its Python imports by a .pth file from elsewhere, as packages that are being worked on have
    it, is a part of it, and so is what reads its conda: a prefix that was copied has that of the
    place it was copied from.

    :param but: as for safe_paths.why_unsafe_tree.
    """
    flaw = safe_paths.why_unsafe_tree(prefix, but)
    interpreter = "" if flaw else safe_paths.interpreter(os.path.join(prefix, "bin", "conda"))
    if interpreter:
        flaw = safe_paths.why_unsafe(interpreter)
    for place in () if flaw else _imported_from(prefix):
        flaw = flaw or safe_paths.why_unsafe_tree(place)
    return flaw


def _imported_from(prefix: str) -> Iterator[str]:
    """Yield the places outside of a prefix that its Python imports from, by Python's site.py."""
    pattern = os.path.join(glob.escape(prefix), "lib", "python3.*", "site-packages", "*.pth")
    for path in glob.glob(pattern):
        with files.opened(path) as file:
            lines = file.read(files.TEXT_LIMIT).decode(errors="surrogateescape").splitlines()
        for line in lines:
            place = os.path.normpath(os.path.join(os.path.dirname(path), line.rstrip()))
            is_path = "\0" not in line and not line.startswith(("#", "import ", "import\t"))
            if is_path and not f"{place}/".startswith(f"{prefix}/"):
                yield place


def verdict(state: Mapping[str, Any]) -> str:
    """Return what is where a prefix is to be: 'free', 'unfinished', 'conda' or 'foreign'.

    :param state: the place as ``paths`` of node_info describes it.
    """
    if state["unfinished"]:
        return "unfinished"
    if state["conda"]:
        return "conda"
    if state["kind"] in ("absent", "directory") and state["empty"]:
        return "free"
    return "foreign"


def foreign(what: str, prefix: str, option: str) -> Refusal:
    """Return the Refusal for a prefix that holds something we did not put there.

    :param option: the option that decides where the prefix lies.
    """
    return Refusal(
        what,
        f"{prefix} holds something else than what is to be there",
        f"Move it away or choose another {option}",
    )


def conda_records(prefix: str) -> dict[str, dict[str, Any]]:
    """Return {name: record} from conda-meta/*.json.

    A record keeps ``name, version, build, url, md5, sha256`` (missing ones
    are None) and ``dists``, the dist-info folders the package placed,
    relative to the prefix. An unreadable record is left out: its package
    then counts as missing, which is what a broken one is.
    """
    records = {}
    for path in glob.glob(os.path.join(glob.escape(prefix), "conda-meta", "*.json")):
        try:
            full = files.read_json(path)
            record = {
                key: full.get(key) for key in ("name", "version", "build", "url", "md5", "sha256")
            }
            record["dists"] = [
                os.path.dirname(name)
                for name in full.get("files", [])
                if name.endswith(".dist-info/METADATA")
            ]
            records[full["name"]] = record
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
    return records


def conda_package_names(prefix: str) -> list[str]:
    """Return the sorted 'name-version-build' of every package, by the record file names alone."""
    names = os.listdir(os.path.join(prefix, "conda-meta")) if is_conda(prefix) else []
    return sorted(name[: -len(".json")] for name in names if name.endswith(".json"))


def dist_infos(prefix: str) -> dict[str, tuple[str, str]]:
    """Return {dist-info folder: (name, version)} of every Python distribution in a prefix.

    Folders are relative to the prefix, names normalised as PEP 503 says; read
    from the folders' names, so that a thousand of them cost milliseconds.
    """
    return {
        folder: dist for folder, dist in _dist_info_folders(prefix) if _has_metadata(prefix, folder)
    }


def dist_info_remains(prefix: str) -> list[str]:
    """Return the dist-info folders, relative to the prefix, of distributions that are gone.

    pip leaves what a conda package did not list in its RECORD, and then
    takes the rest for a distribution it cannot remove.
    """
    return [
        folder for folder, _dist in _dist_info_folders(prefix) if not _has_metadata(prefix, folder)
    ]


def _dist_info_folders(prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for folder in glob.glob(os.path.join(glob.escape(prefix), "lib", "python3.*")):
        packages = os.path.join(folder, "site-packages")
        # conda's Python 3.10 and later come with a link lib/python3.1 to the real folder.
        if os.path.islink(folder) or not os.path.isdir(packages):
            continue
        for entry in os.listdir(packages):
            dist = parse_dist_info(entry)
            if dist:
                yield os.path.relpath(os.path.join(packages, entry), prefix), dist


def _has_metadata(prefix: str, folder: str) -> bool:
    return os.path.isfile(os.path.join(prefix, folder, "METADATA"))


def dist_names(prefix: str) -> list[str]:
    """Return the sorted 'name==version' of every Python distribution in the prefix."""
    return sorted(f"{name}=={version}" for name, version in dist_infos(prefix).values())


def parse_dist_info(folder: str) -> tuple[str, str] | None:
    """Return (name, version) from the base name of a dist-info folder, or None for another one."""
    match = _DIST_INFO.fullmatch(folder)
    return (normalise(match.group(1)), match.group(2)) if match else None


def normalise(name: str) -> str:
    """Return a Python distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version_key(version: str) -> str:
    """Return a Python version in a form in which '1.0' and '1.0.0' are equal, as PEP 440 says.

    Enough to compare a pin with what pip wrote down for it; it does not order.
    """
    match = re.fullmatch(r"v?(\d+(?:\.\d+)*)(.*)", version.strip().lower())
    if not match:
        return version
    release = [int(part) for part in match.group(1).split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    return ".".join(map(str, release)) + re.sub(r"[-_.]", "", match.group(2))
