# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Folders that are made on the way to a place, and go again once nothing is left in them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator

from ..refusal import Refusal
from . import files, safe_paths

# An extended attribute: what tells a folder that we made from one that was empty before.
_MARK = "user.gpunode"
_OPENED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make(path: str) -> None:
    """Make a folder and those above it that are lacking, open to all; each is marked as ours.

    :param path: an absolute path.
    :raises Refusal: a link of somebody else's is on the way.
    """
    if os.path.isdir(path):
        return
    make(os.path.dirname(path))
    with safe_paths.held_above(path) as place:
        os.mkdir(place, 0o700)
        # Below a folder of a user another one, or a link, may lie there by now.
        descriptor = os.open(place, _OPENED)
    try:
        os.fchmod(descriptor, 0o755)
        # A file system without such attributes keeps the folder.
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, _MARK, b"")
    finally:
        os.close(descriptor)


def is_ours(path: str) -> bool:
    """Say whether a folder was made by :func:`make`."""
    try:
        return _MARK in os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False


def is_given_away(path: str) -> bool:
    """Say whether a folder that we made is another's than root's by now, or written by others."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return is_ours(path) and (status.st_uid != 0 or bool(status.st_mode & 0o022))


def take_back(path: str) -> None:
    """Give a folder that we made to root alone again; leave any other.

    :param path: of the folder, or a name that it is held by.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Those that do not know such attributes have none.
        with contextlib.suppress(OSError):
            if _MARK in os.listxattr(descriptor):
                os.fchown(descriptor, 0, 0)
                os.fchmod(descriptor, 0o755)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(place: str) -> Iterator[str]:
    """Yield a path beside a folder, for what takes its place, which is there whole or not at all.

    A folder with the same in it stays as it is.
    """
    new = f"{place}.gpunode-new"
    # Of a run that was killed. Where it cannot go, whoever makes it anew says why.
    shutil.rmtree(new, ignore_errors=True)
    try:
        yield new
        if not os.path.isdir(place) or files.sha256_of_tree(place) != files.sha256_of_tree(new):
            # Where something of it stays, the next line says why.
            shutil.rmtree(place, ignore_errors=True)
            os.rename(new, place)
    finally:
        # There is none where all went well, and else the error that is on its way says more.
        shutil.rmtree(new, ignore_errors=True)


def remove_if_empty(path: str) -> None:
    """Remove a folder that has nothing in it; leave any other, and what is no folder.

    Nor does anything go to which a link of somebody else's leads.
    """
    with contextlib.suppress(OSError, Refusal):
        safe_paths.rmdir(path)


def remove(path: str) -> None:
    """Remove a folder and all that is in it, however deep somebody made that.

    :raises OSError: as shutil.rmtree does.
    """
    try:
        shutil.rmtree(path)
    except (RecursionError, OSError) as error:
        # It has a frame and a descriptor open for each folder on its way down.
        if isinstance(error, OSError) and error.errno != errno.EMFILE:
            raise
        _remove_deep(path)


def _remove_deep(path: str) -> None:
    """Remove a folder whose depth has no bound: what is in one of its folders is moved up first."""
    # Names that nobody can have taken before.
    prefix, moved = secrets.token_hex(8), 0
    top = os.open(path, _OPENED)
    try:
        ahead = os.listdir(top)
        while ahead:
            name = ahead.pop()
            try:
                folder = os.open(name, _OPENED, dir_fd=top)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                os.unlink(name, dir_fd=top)
                continue
            try:
                for below in os.listdir(folder):
                    moved += 1
                    ahead.append(f"{prefix}-{moved}")
                    os.rename(below, ahead[-1], src_dir_fd=folder, dst_dir_fd=top)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)
