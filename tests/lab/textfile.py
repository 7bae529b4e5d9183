"""Small files, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from lab.errors import LabError


def put(path, content, mode=0o644, owner=0):
    """Make ``path`` a file with this content, mode and numeric owner; return whether it was not.

    The new file takes the old one's place at once. A link at ``path`` is
    replaced, not followed.

    :param content: bytes or str.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        as_wanted = (
            stat.S_ISREG(status.st_mode)
            and (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, owner, owner)
            and path.read_bytes() == data
        )
        if as_wanted:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".lab-")
    try:
        with open(descriptor, "wb") as handle:
            handle.write(data)
            os.fchown(descriptor, owner, owner)
            os.fchmod(descriptor, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return True


def inside(tree, path):
    """Return where the absolute ``path`` of a node lies below its ``tree`` on this machine.

    :raises LabError: a link in the tree leads the path's folder out of it, onto
        this machine's own files.
    """
    tree = Path(tree)
    place = tree / str(path).lstrip("/")
    if not place.parent.resolve().is_relative_to(tree.resolve()):
        raise LabError(f"{path} leads out of the node's tree {tree} to {place.parent.resolve()}")
    return place
