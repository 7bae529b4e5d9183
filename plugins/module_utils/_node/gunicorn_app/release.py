# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application's files as one release: checked, packed alike everywhere, unpacked safely."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import tarfile
from typing import Callable

from ..refusal import Refusal
from ..system import archives, files

IGNORED = (".git", "__pycache__", "*.pyc")
LeaveOut = Callable[[str, bool], bool]
_ID_DIGITS = 12
# More than any application has, and less than what Python, or a path, can hold.
_DEEPEST = 100


def digest_of(folder: str, leave_out: LeaveOut | None = None) -> str:
    """Return the hex sha256 of a release's content, the same wherever it lies.

    :param leave_out: what of the folder is no part of it, see files.walk.
    """
    return files.sha256_of_tree(folder, IGNORED, leave_out)


def id_of(digest: str) -> str:
    """Return the short name of a release, which is also its folder's."""
    return digest[:_ID_DIGITS]


def is_id(name: str) -> bool:
    """Say whether a folder's name is that of a release."""
    return bool(re.fullmatch(f"[0-9a-f]{{{_ID_DIGITS}}}", name))


def size_of(folder: str, leave_out: LeaveOut | None = None) -> int:
    """Return the bytes that a release's files hold; see :func:`digest_of`."""
    return sum(os.lstat(path).st_size for path, _relative in files.walk(folder, IGNORED, leave_out))


def check(folder: str, leave_out: LeaveOut | None = None) -> None:
    """Refuse a folder that holds what cannot be shipped; see :func:`digest_of`.

    :raises Refusal: a link leads out of it, it is too deep, or something is neither file, folder
        nor link.
    """
    for path, relative in files.walk(folder, IGNORED, leave_out):
        _check_depth(relative)
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            _check_link(folder, relative, os.readlink(path))
        elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise Refusal(
                f"{relative} in {folder}",
                "it is neither a file, a folder nor a link",
                "Remove it from the application's folder",
            )


def pack(folder: str, archive: str | os.PathLike[str], leave_out: LeaveOut | None = None) -> None:
    """Write a release to ``archive`` as a tar.gz that depends on its content alone.

    :param leave_out: as for :func:`digest_of`.
    """
    with (
        open(archive, "wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, relative in files.walk(folder, IGNORED, leave_out):
            _pack_member(tar, path, relative)


def _pack_member(tar: tarfile.TarFile, path: str, relative: str) -> None:
    """Add one path, with a mode that says only whether it can be run, and no owner or time."""
    status = os.lstat(path)
    member = tarfile.TarInfo(relative)
    if stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(member)
    elif stat.S_ISDIR(status.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    else:
        member.size, member.mode = status.st_size, _mode(status.st_mode)
        with files.opened(path) as content:
            tar.addfile(member, content)


def unpack(archive: str | os.PathLike[str], folder: str) -> None:
    """Unpack a tar archive into the new folder ``folder``; nothing is ever written outside of it.

    :raises Refusal: it is no tar archive, or holds something else than files,
        folders and links that stay inside.
    :raises OSError: the file system of ``folder`` is full.
    """
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    remedy = "Give a whole tar archive (.tar, .tar.gz, .tar.xz)"
    try:
        with archives.reading(f"archive {archive}", remedy), tarfile.open(archive) as tar:
            for member in archives.members(tar, folder):
                _unpack_member(tar, member, folder)
        # Where a link leads is known once all are there.
        for path, relative in files.walk(folder):
            if os.path.islink(path):
                _check_link(folder, relative, os.readlink(path))
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, OSError):
            error.filename = folder
        raise


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> None:
    if "\0" in member.name + member.linkname:
        raise _unsafe(repr(member.name), "there is a NUL in its name or in what it leads to")
    name = os.path.normpath(member.name)
    if name == ".":
        return
    _check_depth(name)
    root = os.path.realpath(folder)
    # By the name that the folder was given: where it lies may change.
    target = os.path.join(folder, name)
    parent = os.path.dirname(target)
    if _leads_out(name) or os.path.realpath(parent) != os.path.normpath(
        os.path.join(root, os.path.dirname(name))
    ):
        raise _unsafe(member.name, "it would be unpacked outside of its folder, or through a link")
    os.makedirs(parent, exist_ok=True)
    if member.issym():
        _check_link(folder, name, member.linkname)
        os.symlink(member.linkname, target)
    elif member.isdir() and not os.path.islink(target):
        os.makedirs(target, exist_ok=True)
        os.chmod(target, 0o755)
    elif member.isreg() and (content := tar.extractfile(member)) is not None:
        with content, open(target, "xb") as handle:
            shutil.copyfileobj(content, handle)
        os.chmod(target, _mode(member.mode))
    else:
        raise _unsafe(
            member.name, "it is neither a file, a folder nor a symbolic link, or lies over a link"
        )


def _mode(mode: int) -> int:
    """Return the mode of a packed file: all that a release keeps is whether it can be run."""
    return 0o755 if mode & 0o100 else 0o644


def _check_depth(relative: str) -> None:
    if relative.count(os.sep) > _DEEPEST:
        raise _unsafe(f"{relative[:_DEEPEST]}...", f"it lies more than {_DEEPEST} folders deep")


def _leads_out(relative: str) -> bool:
    """Say whether a normalised path does not stay below where it starts."""
    return os.path.isabs(relative) or relative.split(os.sep)[0] == os.pardir


def _check_link(folder: str, name: str, target: str) -> None:
    """Refuse a link that leads out of the folder, by its text or by the links on its way."""
    place, root = os.path.dirname(name), os.path.realpath(folder)
    leads_to = os.path.realpath(os.path.join(root, place, target))
    if (
        os.path.isabs(target)
        or _leads_out(os.path.normpath(os.path.join(place, target)))
        or os.path.commonpath([root, leads_to]) != root
    ):
        raise _unsafe(f"{name} in {folder}", f"the link leads out of the folder, to {target}")


def _unsafe(what: str, because: str) -> Refusal:
    return Refusal(what, because, "Leave it out of the application")
