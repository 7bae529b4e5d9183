# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sources of nv_peer_mem: from the archive of a tag, with the patches that it takes.

What is said of them holds for Mellanox/nv_peer_memory 1.1-0 (4ed7715) and 1.3-0 (a15f0f6).
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from typing import IO, cast

from ..refusal import Refusal
from ..system import archives, disk, download, files, own_paths
from .wanted import Tag

#: Among the sources: what they were made from, and what they were like then.
NOTE = "gpunode.txt"
#: Where an archive lies while it is needed.
WORK_DIR = os.path.join(own_paths.CACHE_DIR, "peer_memory")

_TAG = re.compile(r'^#define\s+DRV_VERSION\s+"([^"]+)"', re.MULTILINE)
_VERSION = re.compile(r'^PACKAGE_VERSION="?([\w.]+)"?', re.MULTILINE)
_MOST_BYTES = 1 << 20
# More folders within each other than sources have, and the longest name of a file (limits.h).
_DEEPEST, _LONGEST = 100, 255


def make(row: Tag, patches: dict[str, str], sent: dict[str, str], folder: str) -> None:
    """Make the sources of a tag with their patches in a folder that is not there yet.

    :param row: the tag.
    :param patches: {name: text}.
    :param sent: {name: path} of the files of the controller that were sent along.
    :raises Refusal: the archive is not to be had, is another one, or none.
    """
    archive = os.path.join(WORK_DIR, f"{row['sha256']}.tar.gz")
    source = f"file://{sent[row['file']]}" if row["file"] in sent else row["file"]
    download.fetch(source, archive, row["sha256"])
    unpack(archive, folder, row["tag"], patches)


def forget() -> None:
    """Remove the archive, which is fetched and proven again where it is needed again."""
    shutil.rmtree(WORK_DIR, ignore_errors=True)


def unpacked_tag(folder: str) -> tuple[str, ...]:
    """Return (tag, version in DKMS) of unpacked sources, '' for what they do not tell."""
    texts = []
    for name, pattern in (("nv_peer_mem.c", _TAG), ("dkms.conf", _VERSION)):
        try:
            with files.opened(os.path.join(folder, name)) as handle:
                match = pattern.search(handle.read(_MOST_BYTES).decode(errors="replace"))
        except OSError:
            match = None
        texts.append(match.group(1) if match else "")
    return tuple(texts)


def unpack(archive: str, folder: str, tag: str, patches: dict[str, str]) -> None:
    """Make the sources of a tag with their patches in a folder that is not there yet.

    :param archive: the path of a .tar.gz that has one folder in it, as GitHub makes them.
    :param patches: {name: text}.
    :raises Refusal: it is none, or the archive of another tag.
    """
    what = f"the archive of nv_peer_mem {tag}"
    with disk.watched(f"unpack {what}", folder):
        os.mkdir(folder, 0o755)
        with archives.reading(what, "Name a whole .tar.gz"):
            _extract(archive, folder)
        found = unpacked_tag(folder)[0]
        if found != tag:
            raise Refusal(
                what,
                f"it has nv_peer_mem {found or 'of no tag that it names'} in it",
                "Name the archive of that tag in peer_memory_archives, or say another tag",
            )
        os.mkdir(os.path.join(folder, "patches"), 0o755)
        for name, text in patches.items():
            path = os.path.join(folder, "patches", name)
            files.write_text(path, text, owner=None, group=None, mode=0o644)


def _extract(archive: str, folder: str) -> None:
    """Write the files of an archive without its first folder, and nothing but plain files."""
    with tarfile.open(archive) as packed:
        for row in archives.members(packed, folder):
            parts = row.name.split("/")[1:]
            if not row.isfile() or not parts or ".." in parts:
                continue
            if "\0" in row.name or len(parts) > _DEEPEST or max(map(len, parts)) > _LONGEST:
                raise tarfile.ReadError(f"no folder can have {ascii(row.name)[:_DEEPEST]}")
            path = os.path.join(folder, *parts)
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            # Of a plain file there is one.
            source = cast(IO[bytes], packed.extractfile(row))
            with source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            os.chmod(path, 0o755 if row.mode & 0o100 else 0o644)


def note(made_from: str, folder: str) -> None:
    """Note among the sources what they were made from, so that :func:`noted` can tell."""
    text = f"{made_from}\n{files.sha256_of_tree(folder, (NOTE,))}\n"
    files.write_text(os.path.join(folder, NOTE), text, None, None, mode=0o644)


def noted(folder: str) -> str:
    """Return what sources were made from; '' where nobody noted it, or they were changed since."""
    try:
        words = files.read_text(os.path.join(folder, NOTE)).split()
    except (OSError, ValueError):
        return ""
    is_unchanged = words[1:] == [files.sha256_of_tree(folder, (NOTE,))]
    return words[0] if is_unchanged else ""


def made_from(sha256: str, patches: dict[str, str]) -> str:
    """Return one digest of an archive's digest and of its patches, {name: text}."""
    return files.sha256_of_text("\n".join([sha256, *(f"{n}\n{t}" for n, t in patches.items())]))
