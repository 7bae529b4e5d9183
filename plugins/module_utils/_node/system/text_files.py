# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small text files that a component places: what differs from them, and how they come about."""

from __future__ import annotations

import collections
import contextlib
import functools
import os

from .. import steps
from . import files, folders

# What is to be at a path, of root: a text with a mode, or nothing where the text is None.
# What is secret is never shown.
TextFile = collections.namedtuple("TextFile", "text mode is_secret")


def of(text, mode=0o644, is_secret=False):
    """Return the file with a text, or with None what stands for no file."""
    return TextFile(text, mode, is_secret)


def found(path):
    """Return what is at a path now, as it can be put back; of a link, what it leads to."""
    text = read(path)
    return of(text, 0o644 if text is None else os.stat(path).st_mode & 0o777)


def stale(wanted):
    """Return those paths of {path: TextFile} that are not as they are to be, in their order."""
    return [path for path, file in wanted.items() if not _is_as(path, file)]


def sentence(path, file):
    """Return in words what :func:`put` does."""
    return f"remove {path}" if file.text is None else f"write {path}"


def diff(path, file):
    """Return the difference as Ansible shows it; of a secret file only that there is one."""
    before, after = read(path) or "", file.text or ""
    if file.is_secret:
        before, after = ("its content is not shown\n" if text else "" for text in (before, after))
    return steps.diff(path, before, after)


def put(path, file):
    """Bring a path to what is to be there.

    :raises OSError: as writing does.
    """
    if file.text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        # Of a folder that is somebody else's, an empty one stays.
        folder = os.path.dirname(path)
        if folders.is_ours(folder):
            folders.remove_if_empty(folder)
    elif not _is_as(path, file):
        folders.make(os.path.dirname(path))
        files.write_text(path, file.text, mode=file.mode)


def put_all(wanted):
    """Bring each path of {path: TextFile} to what is to be there; see :func:`put`."""
    for path, file in wanted.items():
        put(path, file)


def settling(wanted):
    """Return the steps.Step of each thing that is not as it is to be, of {path: TextFile}."""
    return [
        steps.Step(sentence(path, wanted[path]), functools.partial(put, path, wanted[path]))
        for path in stale(wanted)
    ]


def read(path):
    """Return the text of a file, None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def _is_as(path, file):
    if file.text is None:
        return not os.path.lexists(path)
    if os.path.islink(path) or read(path) != file.text:
        return False
    return files.ownership(path) == ("root", "root", f"{file.mode:04o}")
