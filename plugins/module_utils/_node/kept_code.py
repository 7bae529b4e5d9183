# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run code that the host keeps compiled, so that its name alone has to travel.

Nothing imports this: its text is what a Python of the host is fed, with a call of ``main`` after
it, so it stands by itself. What it cannot do it says, and leaves to an ordinary module.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import io
import json
import marshal
import os
import stat
import sys
import tempfile
import zipfile
from typing import Any

# Of several controllers, versions of this project or of Python, each has its own for a while.
_KEPT = 4
_LARGEST = 16 << 20
_DIGEST_BYTES = hashlib.sha256().digest_size


class Unfit(Exception):
    """The folder or what was sent is not what it has to be."""


class _Finder:
    """Finds the modules of the code; their packages are empty."""

    def __init__(self, codes: dict[str, Any]) -> None:
        self._codes = codes
        self._packages = {
            name[:at] for name in codes for at, letter in enumerate(name) if letter == "."
        }

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._codes and name not in self._packages:
            return None
        loader: Any = self
        return importlib.machinery.ModuleSpec(name, loader, is_package=name in self._packages)

    def create_module(self, _spec: object) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        if module.__name__ in self._codes:
            exec(self._codes[module.__name__], module.__dict__)


def main(order: str) -> None:
    """Print the answer of a function as a line of JSON: {"answer": what it returns}.

    Or {"lacks": true} where the host has not its code and none was sent.

    :param order: JSON: {folder: where compiled code is kept, digest: the sha256 of the code,
        code: what :func:`packed` made of it, or null; module, function, arguments: what is
        called}.
    """
    said = json.loads(order)
    # Another Python has another form of it.
    tag = sys.implementation.cache_tag + importlib.util.MAGIC_NUMBER.hex()
    path = os.path.join(said["folder"], f"{said['digest']}.{tag}")
    codes = _read(path)
    if codes is None:
        if said["code"] is None:
            _say({"lacks": True})
            return
        codes = _compiled(base64.b64decode(said["code"]), said["digest"])
        # On a full disk, say, it is sent again the next time.
        with contextlib.suppress(OSError):
            _keep(path, marshal.dumps(codes))
    finder: Any = _Finder(codes)
    sys.meta_path.insert(0, finder)
    function = getattr(importlib.import_module(said["module"]), said["function"])
    _say({"answer": function(**said["arguments"])})


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")


def _read(path: str) -> dict[str, Any] | None:
    """Return what is kept in a file; None where it is not there, or not root's own and whole."""
    try:
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not _is_own(os.fstat(folder)):
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        number = os.open(os.path.basename(path), flags, dir_fd=folder)
        try:
            seen = os.fstat(number)
            if not (stat.S_ISREG(seen.st_mode) and _is_own(seen) and seen.st_size <= _LARGEST):
                return None
            text = os.read(number, seen.st_size)
        finally:
            os.close(number)
    except OSError:
        return None
    finally:
        os.close(folder)
    digest, kept = text[:_DIGEST_BYTES], text[_DIGEST_BYTES:]
    # Damaged, it could do anything.
    if hashlib.sha256(kept).digest() != digest:
        return None
    found: dict[str, Any] = marshal.loads(kept)
    return found


def _is_own(seen: os.stat_result) -> bool:
    return seen.st_uid == os.geteuid() and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compiled(code: bytes, digest: str) -> dict[str, Any]:
    """Return {module: its code} of an archive.

    :raises Unfit: it is not the one of that digest.
    """
    if hashlib.sha256(code).hexdigest() != digest:
        raise Unfit(f"the code that came is not that of {digest}")
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        return {
            name: compile(archive.read(name), f"gpunode:{name}", "exec", dont_inherit=True)
            for name in archive.namelist()
        }


def _keep(path: str, text: bytes) -> None:
    """Write compiled code to a file, and remove all but the latest beside it.

    :raises OSError: the folder is not ours alone, or has no room.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if not _is_own(os.lstat(folder)) or os.path.islink(folder):
        raise PermissionError(f"{folder} is another user's too")
    # Made for its user alone.
    number, new = tempfile.mkstemp(dir=folder)
    try:
        with open(number, "wb") as file:
            file.write(hashlib.sha256(text).digest() + text)
        os.rename(new, path)
    except OSError:
        os.unlink(new)
        raise
    found = sorted(os.scandir(folder), key=lambda entry: -entry.stat().st_mtime)
    for entry in found[_KEPT:]:
        os.unlink(entry.path)
