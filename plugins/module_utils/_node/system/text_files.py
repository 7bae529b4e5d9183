# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small text files that a component places: what differs from them, and how they come about."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .. import steps
from ..refusal import Refusal
from . import files, folders


class TextFile(NamedTuple):
    """What is to be at a path, of root: a text with a mode, or nothing where the text is None.

    :ivar is_secret: whether the text is never shown.
    """

    text: str | None
    mode: int
    is_secret: bool


class OnDisk(NamedTuple):
    """What is at a path.

    :ivar text: of a link, that of what it leads to; None where there is none.
    :ivar mode: of the same; that of a new file where there is none.
    :ivar is_own: whether it is neither a link nor anybody else's than root's.
    """

    text: str | None = None
    mode: int = 0o644
    is_own: bool = True


#: What is where nothing is.
NOTHING = OnDisk()


def of(text: str | None, mode: int = 0o644, is_secret: bool = False) -> TextFile:
    """Return the file with a text, or with None what stands for no file."""
    return TextFile(text, mode, is_secret)


def look(paths: Iterable[str]) -> dict[str, OnDisk]:
    """Return {path: OnDisk} of what is at some paths now.

    :raises Refusal: a folder is.
    """
    return {path: _on_disk(path) for path in paths}


def _on_disk(path: str) -> OnDisk:
    if not os.path.lexists(path):
        return NOTHING
    if os.path.isdir(path):
        raise Refusal(path, "it is a folder, and a file is to lie there", "Move it away")
    if os.path.exists(path) and not os.path.isfile(path):
        # A pipe, a socket or a device: nothing is read from it.
        return OnDisk("", is_own=False)
    text = read(path)
    if text is None:
        # A link that leads nowhere.
        return OnDisk(is_own=False)
    is_own = not os.path.islink(path) and files.ownership(path)[:2] == ("root", "root")
    return OnDisk(text, stat.S_IMODE(os.stat(path).st_mode), is_own)


def found(path: str) -> TextFile:
    """Return what is at a path now, as it can be put back; of a link, what it leads to."""
    return as_it_was(_on_disk(path))


def as_it_was(there: OnDisk) -> TextFile:
    """Return the file that puts back what was there."""
    return of(there.text, there.mode)


def stale(wanted: Mapping[str, TextFile], there: Mapping[str, OnDisk] | None = None) -> list[str]:
    """Return those paths of {path: TextFile} that are not as they are to be, in their order.

    :param there: what :func:`look` found, else it looks now; nothing at paths it was not asked for.
    """
    there = look(wanted) if there is None else there
    return [path for path, file in wanted.items() if not _is_as(there.get(path, NOTHING), file)]


def sentence(path: str, file: TextFile) -> str:
    """Return in words what :func:`put` does."""
    return f"remove {path}" if file.text is None else f"write {path}"


def diff(path: str, file: TextFile, there: OnDisk | None = None) -> dict[str, str]:
    """Return the difference as Ansible shows it; of a secret file only that there is one.

    :param there: the OnDisk, else it looks now.
    """
    before = (_on_disk(path) if there is None else there).text or ""
    after = file.text or ""
    if file.is_secret:
        before, after = ("its content is not shown\n" if text else "" for text in (before, after))
    return steps.diff(path, before, after)


def put(path: str, file: TextFile) -> None:
    """Bring a path to what is to be there.

    What a run that was killed had not put in place there goes as well: it may hold a secret.

    :raises OSError: as writing does.
    """
    files.discard_temporary(os.path.dirname(path))
    if file.text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        # Of a folder that is somebody else's, an empty one stays.
        folder = os.path.dirname(path)
        if folders.is_ours(folder):
            folders.remove_if_empty(folder)
    elif not _is_as(_on_disk(path), file):
        folders.make(os.path.dirname(path))
        files.write_text(path, file.text, mode=file.mode)


def put_all(wanted: Mapping[str, TextFile]) -> None:
    """Bring each path of {path: TextFile} to what is to be there; see :func:`put`."""
    for path, file in wanted.items():
        put(path, file)


def settling(
    wanted: Mapping[str, TextFile], there: Mapping[str, OnDisk] | None = None
) -> list[steps.Step]:
    """Return the steps.Step of each thing that is not as it is to be; see :func:`stale`."""
    return [
        steps.Step(sentence(path, wanted[path]), functools.partial(put, path, wanted[path]))
        for path in stale(wanted, there)
    ]


def read(path: str) -> str | None:
    """Return the text of a file, None where there is none."""
    try:
        return files.read_text(path, "surrogateescape")
    except FileNotFoundError:
        return None


def _is_as(there: OnDisk, file: TextFile) -> bool:
    return (
        there.is_own and there.text == file.text and (file.text is None or there.mode == file.mode)
    )
