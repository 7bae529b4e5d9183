"""Folders that are made once, shared by all checkouts, and never seen half-made."""

from __future__ import annotations

import shutil

from lab import lock


def made(folder, make):
    """Return ``folder``, made by ``make(temporary)`` where it is not there yet.

    The temporary folder takes the name only when it is whole, so what a killed
    or failed run leaves never counts; the next one clears it away.

    :param folder: the final place; its name should carry a digest of what it is made from.
    :param make: fills an empty folder; what it raises is passed on.
    :raises LabError: another process was making it all the time that lock.held waits.
    """
    with lock.held(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            temporary = folder.with_name(f"{folder.name}.unfinished")
            if temporary.exists():
                shutil.rmtree(temporary)
            temporary.mkdir()
            make(temporary)
            temporary.rename(folder)
    return folder
