# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run code that the host keeps compiled, so that its name alone has to travel.

Nothing imports this: its text is what a Python of the host is fed, with a call of ``main`` after
it, so it stands by itself. What it cannot do it says, and leaves to an ordinary module.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import marshal
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

# Of several controllers, versions of this project or of Python, each has its own for a while.
_KEPT = 4
_LARGEST = 16 << 20
_DIGEST_BYTES = hashlib.sha256().digest_size
# As the client of NFS 4 hands out its access control lists.
_NFS4 = "system.nfs4_acl"


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
        code: its archive in base64, or null; module, function, arguments: what is
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
        codes = _compiled(said["code"], said["digest"])
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
        with _folder_of(path) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            number = os.open(os.path.basename(path), flags, dir_fd=folder)
            try:
                seen = os.fstat(number)
                if not (stat.S_ISREG(seen.st_mode) and _is_own(number)):
                    return None
                text = os.read(number, _LARGEST)
            finally:
                os.close(number)
    except OSError:
        return None
    digest, kept = text[:_DIGEST_BYTES], text[_DIGEST_BYTES:]
    # Damaged, it could do anything.
    if hashlib.sha256(kept).digest() != digest:
        return None
    # Python's own builds may differ in what they write, under the same name.
    with contextlib.suppress(ValueError, EOFError, TypeError):
        found = marshal.loads(kept)
        if isinstance(found, dict):
            return found
    return None


@contextlib.contextmanager
def _folder_of(path: str, make: bool = False) -> Iterator[int]:
    """Open the folder that a path is in, to which nobody else can lead, nor change what is there.

    :param make: make those on the way that are lacking.
    :raises OSError: there is none, a link is on the way, or somebody else could.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    parts = os.path.dirname(path).strip("/").split("/")
    at = os.open("/", flags)
    try:
        for left, part in enumerate(parts, 1 - len(parts)):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755 if left else 0o700, dir_fd=at)
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
            if not _is_own(at, may_be_shared=bool(left)):
                raise PermissionError(f"{part} on the way to {path} is another user's too")
        yield at
    finally:
        os.close(at)


def _is_own(number: int, may_be_shared: bool = False) -> bool:
    """Say whether what is open is root's, or whose program this is, and written by nobody else.

    :param may_be_shared: it may be a folder in which nobody moves what is another's.
    """
    seen, lists = os.fstat(number), []
    is_written = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    is_shared = may_be_shared and seen.st_mode & stat.S_ISVTX
    # A file system may have no such attributes.
    with contextlib.suppress(OSError):
        lists = os.listxattr(number)
    # The bits of the group hold those of a list of POSIX. One of NFS 4 is left unread.
    return (
        seen.st_uid in (0, os.geteuid())
        and bool(is_shared or not is_written)
        and _NFS4 not in lists
    )


def _compiled(text: str, digest: str) -> dict[str, Any]:
    """Return {module: its code} of an archive in base64.

    :raises Unfit: it is not the one of that digest.
    """
    # To import them is a tenth of a look, which most do without.
    import base64
    import io
    import zipfile

    code = base64.b64decode(text)
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
    with _folder_of(path, make=True) as folder:
        name, new = os.path.basename(path), os.urandom(8).hex()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        number = os.open(new, flags, 0o600, dir_fd=folder)
        try:
            with open(number, "wb") as file:
                file.write(hashlib.sha256(text).digest() + text)
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(new, dir_fd=folder)
            raise
        # By the clock of the host, which may have gone back: this one stays whatever it says.
        others = set(os.listdir(folder)) - {name}
        changed = {other: os.stat(other, dir_fd=folder).st_mtime for other in others}
        for other in sorted(others, key=lambda other: -changed[other])[_KEPT - 1 :]:
            os.unlink(other, dir_fd=folder)
