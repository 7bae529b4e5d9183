# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files and trees: digests, and writes that are whole or did not happen."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import grp
import hashlib
import json
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from typing import IO, Any, Callable

_CHUNK = 1 << 20
#: How the name begins of what is not in its place yet.
TEMPORARY = ".gpunode-"
#: What a small file, such as each of ours, has at the most, in bytes.
TEXT_LIMIT = 16 << 20


def opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for reading; a pipe keeps nobody waiting.

    :raises OSError: as ``open`` does, and where something else than a file lies there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    return os.fdopen(descriptor, "rb")


def read_text(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """Return the text of a small regular file.

    :param errors: what becomes of bytes that are not in UTF-8, as for bytes.decode.
    :raises OSError: as :func:`data` does.
    :raises ValueError: it is not in UTF-8.
    """
    return data(path).decode(errors=errors)


def data(path: str | os.PathLike[str]) -> bytes:
    """Return what is in a small regular file.

    :raises OSError: it cannot be read, or has more than TEXT_LIMIT.
    """
    with opened(path) as handle:
        found = handle.read(TEXT_LIMIT + 1)
    if len(found) > TEXT_LIMIT:
        raise OSError(errno.EFBIG, f"it has more than {TEXT_LIMIT >> 20} MiB", os.fspath(path))
    return found


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return what a small regular file of ours holds as JSON.

    :raises OSError: as :func:`read_text` does.
    :raises ValueError: it is no JSON that anybody would write.
    """
    return parsed(read_text(path))


def parsed(text: str) -> Any:
    """Return what a text is as JSON; ValueError where it is none that anybody would write."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is too deep") from error


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the hex sha256 of a regular file's content; OSError as :func:`opened` raises it."""
    digest = hashlib.sha256()
    with opened(path) as handle:
        for chunk in iter(lambda: handle.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """Return the hex sha256 of a string in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_tree(
    root: str | os.PathLike[str],
    ignore: Collection[str] = (),
    leave_out: Callable[[str, bool], bool] | None = None,
) -> str:
    """Return one hex sha256 over a folder's relative names, kinds, execute bits and contents.

    Owner, other mode bits and times are left out: a tree keeps its digest when
    it is packed on one machine and unpacked on another.

    :param root: the folder.
    :param ignore: patterns (such as '*.pyc') of base names to pass over, at any depth.
    :param leave_out: see :func:`walk`.
    :raises OSError: something in the tree cannot be read.
    """
    digest = hashlib.sha256()
    for path, relative in walk(root, ignore, leave_out):
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            kind, content = "link", os.readlink(path)
        elif stat.S_ISDIR(mode):
            kind, content = "directory", ""
        else:
            kind = "program" if mode & 0o100 else "file"
            content = sha256_of_file(path)
        digest.update(f"{kind}\0{relative}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def walk(
    root: str | os.PathLike[str],
    ignore: Collection[str] = (),
    leave_out: Callable[[str, bool], bool] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (path, path relative to root) of everything below ``root``, in one fixed order.

    However deep that is, which os.walk of Python before 3.12 is not.

    :param ignore: patterns of base names to pass over, at any depth.
    :param leave_out: says of (path relative to root, whether it is a folder) whether it is passed
        over, with all that is in it.
    :raises OSError: a folder cannot be read.
    """
    ahead = [os.fspath(root)]
    while ahead:
        with os.scandir(ahead.pop()) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        folders = []
        for entry in entries:
            relative = os.path.relpath(entry.path, root)
            is_folder = entry.is_dir(follow_symlinks=False)
            is_out = leave_out is not None and leave_out(relative, is_folder)
            if is_out or _matches(entry.name, ignore):
                continue
            yield entry.path, relative
            folders += [entry.path] if is_folder else []
        ahead += reversed(folders)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_own(path: str) -> bool:
    """Say whether what lies at a path is root's, or whose program this is, and nobody else's.

    :raises OSError: nothing lies there.
    """
    status = os.lstat(path)
    is_ours = status.st_uid in (0, os.geteuid())
    return is_ours and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def ownership(path: str) -> tuple[str, str, str]:
    """Return (owner, group, mode such as '0644') of a path, links not followed."""
    status = os.lstat(path)
    return (
        user_name(status.st_uid),
        group_name(status.st_gid),
        f"{stat.S_IMODE(status.st_mode):04o}",
    )


def user_name(uid: int) -> str:
    """Return the name of a numeric user id, or the number as text where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a numeric group id, or the number as text where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


@contextlib.contextmanager
def replacing(
    path: str, owner: str | None = "root", group: str | None = "root", mode: int = 0o600
) -> Iterator[IO[bytes]]:
    """Open a temporary binary file beside ``path`` that takes its place when the block ends well.

    Readers see the old file or the new one, never a part; a full disk or a
    kill leaves the old one. An owner or group of None is that of the process. What others are to
    read is given another mode.
    """
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=TEMPORARY)
    try:
        with open(descriptor, "wb") as handle:
            yield handle
            put_in_place(handle, temporary, path, owner, group, mode)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            # A write that finds the disk full does not say where.
            error.filename = path
        raise


def put_in_place(
    handle: IO[bytes], temporary: str, path: str, owner: str | None, group: str | None, mode: int
) -> None:
    """Have a file that was written aside take its place, once all of it is on the disk.

    :param handle: the file, open for writing.
    :param temporary: where it lies, in the folder of ``path``.
    """
    handle.flush()
    uid = -1 if owner is None else pwd.getpwnam(owner).pw_uid
    gid = -1 if group is None else grp.getgrnam(group).gr_gid
    os.fchown(handle.fileno(), uid, gid)
    os.fchmod(handle.fileno(), mode)
    os.fsync(handle.fileno())
    os.replace(temporary, path)


def discard_temporary(folder: str, age_s: float = 0) -> None:
    """Remove what was not in its place yet in a folder when a run was killed.

    Nobody else may be writing there. What cannot be removed does no harm but to lie there.

    :param age_s: only what nobody wrote to for as long.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(TEMPORARY) and entry.is_file(follow_symlinks=False):
                written = entry.stat(follow_symlinks=False).st_mtime
                if not age_s or written < time.time() - age_s:
                    os.unlink(entry.path)


def write_text(
    path: str, text: str, owner: str | None = "root", group: str | None = "root", mode: int = 0o600
) -> None:
    """Put ``text`` at ``path`` atomically; see :func:`replacing`."""
    with replacing(path, owner, group, mode) as handle:
        handle.write(text.encode())


def point_link(path: str, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, replacing an older link atomically."""
    temporary = f"{path}.gpunode-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, path)
