# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Transactions of apt that go by preferences of their own, and whose archives are kept apart."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator

from ..system import files, folders, own_paths, text_files

_PREFERENCES = "/etc/apt/preferences"


@contextlib.contextmanager
def under(records: Iterable[str], folder: str) -> Iterator[tuple[str, ...]]:
    """Yield the options by which apt goes by some records first, and fetches into a folder.

    A newer version that is there may go back to an older one.

    :param records: what pins.record returns; those of /etc/apt/preferences follow, and what is in
        the folder preferences.d then.
    :param folder: an absolute path, where apt looks for what it has fetched already as well.
    """
    # apt makes no folders outside of its own.
    os.makedirs(os.path.join(folder, "partial"), mode=0o700, exist_ok=True)
    folders.make(own_paths.CACHE_DIR)
    with tempfile.TemporaryDirectory(dir=own_paths.CACHE_DIR, prefix="preferences-") as place:
        path = os.path.join(place, "preferences")
        text = "\n".join([*records, text_files.read(_PREFERENCES) or ""])
        files.write_text(path, text, None, None, mode=0o644)
        own = ("-o", f"Dir::Etc::preferences={path}", "-o", f"Dir::Cache::archives={folder}")
        yield (*own, "--allow-downgrades")
