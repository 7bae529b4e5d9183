# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where an application's files come from, and the archives of them that are sent to hosts.

Both are kept on the controller under names that say their content, so that a
fleet's hosts share one download and one archive.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import release
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    download,
    files,
    unfinished_file,
)

from ..inputs.site import Site

# Archives that come at once: enough to fill a line on which one server is slow.
_AT_ONCE = 4
#: (source, sha256) of an application, as for :func:`folder_of`.
Wish = tuple[str, str | None]


def cache() -> pathlib.Path:
    """Return the folder in which this project keeps what can be had again."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "gpunode"


def _own_cache() -> pathlib.Path:
    """Return that folder, which is there then, and in which nobody else reads or writes.

    :raises Refusal: it is another user's, or was filled by others.
    """
    folder = cache()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = folder.stat()
    users = {seen.st_uid, folder.lstat().st_uid} - {os.geteuid()}
    flaw = f"it belongs to {files.user_name(users.pop())}" if users else ""
    if not flaw and seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        flaw = "others may write there"
    if flaw:
        raise Refusal(
            f"the cache of this project on the controller, {folder}",
            f"{flaw}, and what lies in it goes to hosts",
            "Remove it, or name a folder of your own with XDG_CACHE_HOME",
        )
    folder.chmod(0o700)
    return folder


def folder_of(source: str, sha256: str | None, site: Site) -> str:
    """Return the controller folder with an application's files, fetched and unpacked where needed.

    :param source: a folder, or the path or URL of a tar archive.
    :param sha256: the digest of the archive; None for a folder.
    :param site: turns a relative path into an absolute one.
    :raises Refusal: it is not there, is not what its digest says, or cannot be unpacked safely.
    """
    if "://" in source:
        digest = _demanded(source, sha256)
        return _unpacked(_fetched(source, digest), digest)
    path = site.path(source)
    if os.path.isdir(path):
        if sha256:
            raise Refusal(
                f"source {source}",
                "it is a folder, and sha256 is for an archive",
                "Leave the sha256 out",
            )
        return path
    if not os.path.isfile(path):
        raise Refusal(
            f"source {source}",
            f"there is no {path} on the controller",
            "Name a folder or archive by an absolute path, or relative to the inventory's folder",
        )
    digest = _demanded(source, sha256)
    found = files.sha256_of_file(path)
    if found != digest:
        raise Refusal(
            f"source {source}",
            f"its sha256 is {found}, wanted is {digest}",
            "Do not trust the file; correct the sha256 only after you know why it differs",
        )
    return _unpacked(path, digest)


def fetch_missing(wishes: Iterable[Wish]) -> dict[Wish, Refusal]:
    """Fetch the archives at addresses that the cache lacks, a few at once.

    :return: why those that cannot be had cannot. What else is wrong with one, :func:`folder_of`
        says.
    """
    refused: dict[Wish, Refusal] = {}
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        coming = {
            (url, sha256): pool.submit(_fetched, url, sha256)
            for url, sha256 in dict.fromkeys(wishes)
            if "://" in url and sha256 and not _place_of(sha256).exists()
        }
        for wish, one in coming.items():
            try:
                one.result()
            except Refusal as refusal:
                refused[wish] = refusal
    return refused


def archive_of(digest: str) -> pathlib.Path:
    """Return where the archive of a release lies on the controller, once it was packed."""
    return cache() / "releases" / f"{digest}.tar.gz"


def pack(folder: str, digest: str, leave_out: release.LeaveOut) -> None:
    """Make sure that there is a whole archive of a release.

    :param digest: release.digest_of() of the folder.
    :param leave_out: what of it is no part of the release.
    :raises Refusal: the folder changed meanwhile.
    """
    _own_cache()
    archive = archive_of(digest)
    if _is_whole(archive, files.sha256_of_file):
        return
    with _beside(archive) as aside:
        fresh = aside / "release"
        release.pack(folder, fresh, leave_out)
        if release.digest_of(folder, leave_out) != digest:
            raise Refusal(
                f"source {folder}", "it was changed while it was being packed", "Run again"
            )
        _note_of(archive).write_text(files.sha256_of_file(fresh), encoding="ascii")
        fresh.replace(archive)


def _demanded(source: str, sha256: str | None) -> str:
    """Return the digest of an archive.

    :raises Refusal: there is none.
    """
    if not sha256:
        raise Refusal(
            f"source {urls.shown(source)}",
            "it is an archive without a sha256",
            "Give the sha256 it was published with",
        )
    return sha256


def _place_of(sha256: str) -> pathlib.Path:
    return cache() / "archives" / sha256


def _fetched(url: str, sha256: str) -> pathlib.Path:
    _own_cache()
    path = _place_of(sha256)
    files.discard_temporary(str(path.parent), unfinished_file.ABANDONED_S)
    download.fetch(url, str(path), sha256)
    return path


def _unpacked(archive: str | pathlib.Path, sha256: str) -> str:
    """Return the folder with an archive's content: the one at its top, if it has only that."""
    folder = _own_cache() / "sources" / sha256
    if not _is_whole(folder, files.sha256_of_tree):
        is_damaged = folder.exists()
        with _beside(folder) as aside:
            fresh = aside / "source"
            release.unpack(str(archive), str(fresh))
            _note_of(folder).write_text(files.sha256_of_tree(fresh), encoding="ascii")
            # Another host's run of the same moment may have been faster, with the same content.
            with contextlib.suppress(OSError):
                if is_damaged:
                    folder.rename(aside / "damaged")
                fresh.rename(folder)
    tops = list(folder.iterdir())
    only = len(tops) == 1 and tops[0].is_dir() and not tops[0].is_symlink()
    return str(tops[0] if only else folder)


def _note_of(path: pathlib.Path) -> pathlib.Path:
    """Return where it is noted what the cache has at a path."""
    return path.with_name(f"{path.name}.sha256")


def _is_whole(path: pathlib.Path, digest_of: Callable[[pathlib.Path], str]) -> bool:
    """Say whether the cache has at a path what was put there: tools that free room take a part."""
    try:
        return files.read_text(_note_of(path)) == digest_of(path)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a folder for as long as what goes to a path of the cache is made."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with (
        disk.watched("the cache of this project on the controller", str(path)),
        tempfile.TemporaryDirectory(dir=path.parent) as aside,
    ):
        yield pathlib.Path(aside)
