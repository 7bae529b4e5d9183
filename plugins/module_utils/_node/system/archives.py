# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tar archives of others, read with a bound, and refused where they are broken."""

from __future__ import annotations

import contextlib
import errno
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator

from ..refusal import Refusal
from . import commands, disk

# More than anything has that is unpacked here. A sparse file, or one of zeros, takes no room in its
# archive, and neither does an empty one.
_LARGEST = 64 << 30
_MOST = 1_000_000
# tarfile makes its own errors of some of these only, and of others in later versions of Python.
_BROKEN = (tarfile.TarError, EOFError, ValueError, OverflowError, zlib.error, lzma.LZMAError)


@contextlib.contextmanager
def reading(what: str, remedy: str) -> Iterator[None]:
    """Refuse what tarfile finds broken in an archive, whichever way, or cannot put on the disk.

    :param what: the archive, for the message.
    :raises OSError: the file system is full.
    """
    try:
        yield
    except (*_BROKEN, OSError) as error:
        if disk.ran_out(error):
            raise
        raise Refusal(what, f"it cannot be unpacked: {commands.said(error)}", remedy) from error


def members(tar: tarfile.TarFile, folder: str) -> Iterator[tarfile.TarInfo]:
    """Yield what is in an archive.

    :param folder: where it is unpacked.
    :raises tarfile.ReadError: it is more than anybody would have in one.
    :raises OSError: it is more than there is room for.
    """
    size, free = 0, shutil.disk_usage(folder).free
    for count, member in enumerate(tar):
        size += member.size
        if size > _LARGEST or count >= _MOST:
            limit = f"{_LARGEST >> 30} GiB" if size > _LARGEST else f"{_MOST} files"
            raise tarfile.ReadError(f"it holds more than {limit}")
        if member.size and size > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
        yield member
