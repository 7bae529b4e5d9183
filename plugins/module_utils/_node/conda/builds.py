# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The builds of an environment: what each is called, and what it was built from.

A build lies in '<environment>-<id>', where the id is taken over its content,
and carries in RECORD what it was built from. That file is written last, and
again around a repair, so that its time says when the build was last changed by
us; and it is what a build can be brought back to once its lock is gone from the
controller.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable

from ..refusal import Refusal
from ..system import files
from . import lock_file
from .wanted import Content, Dist, Named

RECORD = ".gpunode.lock"
ID = re.compile(r"[0-9a-f]{12}")

_FOLDER = re.compile(rf"(?P<name>.+)-{ID.pattern}")
_ID_LENGTH = 12
_RECORD_MODE = 0o600


def id_of(lock: Iterable[lock_file.Package], dists: Iterable[Dist]) -> str:
    """Return what tells builds apart: the packages, wherever they come from, and the pins."""
    packages = sorted(
        [lock_file.label(package), package.get("md5") or package["sha256"]] for package in lock
    )
    return id_from([packages, [dist["line"] for dist in dists]])


def id_from(content: object) -> str:
    """Return the id that tells this content, plain lists and dicts, from any other."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_ID_LENGTH]


def folder_of(name: str, build_id: str) -> str:
    """Return the name of the folder of a build."""
    return f"{name}-{build_id}"


def name_of(path: str) -> str | None:
    """Return the name of the environment that a folder is a build of, None for another folder."""
    match = _FOLDER.fullmatch(os.path.basename(path))
    return match.group("name") if match else None


def builds_of(names: Collection[str], folder: str) -> list[str]:
    """Return the paths of what lies in a folder under the names of builds of environments."""
    found = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, entry) for entry in found]
    return [
        path
        for path in paths
        if name_of(path) in names and os.path.isdir(path) and not os.path.islink(path)
    ]


def record_of(prefix: str) -> str:
    """Return where a build says what it was built from."""
    return os.path.join(prefix, RECORD)


def read_record(prefix: str) -> tuple[list[lock_file.Package], list[Dist]]:
    """Return the (lock, dists) that a build says it was built from.

    :raises ValueError: with a sentence, where it does not, or its folder is called otherwise.
    """
    path = record_of(prefix)
    try:
        record = files.read_json(path)
        lock, dists = record["lock"], record["dists"]
        found = folder_of(str(name_of(prefix)), id_of(lock, dists))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a build") from error
    if found != os.path.basename(prefix):
        raise ValueError(f"{path} was changed: what it says would make {found}")
    return lock, dists


def not_kept(env: Named) -> Refusal:
    """Return the Refusal for a build that is named and not on the host."""
    return Refusal(
        f"environment {env['name']}: build {os.path.basename(env['prefix'])}",
        f"it is not kept on the host: {env['prefix']} is not there or was never finished",
        "Name a build that is there, or leave build out to have it made from its lock",
    )


def is_recorded(env: Content) -> bool:
    """Say whether a build carries what it is to be built from, readable by root alone."""
    path = record_of(env["prefix"])
    try:
        text = files.read_text(path)
    except (OSError, UnicodeDecodeError):
        return False
    return text == _text(env) and files.ownership(path) == ("root", "root", f"{_RECORD_MODE:04o}")


def record(env: Content) -> None:
    """Write down what a build was built from, now."""
    files.write_text(record_of(env["prefix"]), _text(env), mode=_RECORD_MODE)


def mend_record(env: Content) -> None:
    """Put right what a build says it was built from; when it was last changed stays said."""
    path = record_of(env["prefix"])
    times = (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns) if os.path.isfile(path) else None
    record(env)
    if times:
        os.utime(path, ns=times)


def _text(env: Content) -> str:
    return json.dumps({"lock": env["lock"], "dists": env["dists"]}, indent=1, sort_keys=True) + "\n"
