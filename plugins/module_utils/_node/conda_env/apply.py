# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done around the builds of environments: their folder, and their links."""

from __future__ import annotations

import os

from ..system import files, folders

# The default folder of environments lies in a folder of our own.
_OURS = "gpunode"


def make_folder(folder: str) -> None:
    """Make the folder of environments, or give it to root, readable by all."""
    folders.make(folder)
    os.chown(folder, 0, 0)
    os.chmod(folder, 0o755)


def remove_folder(folder: str) -> None:
    """Remove the folder of environments, and the one above it where that was there for it alone."""
    os.rmdir(folder)
    parent = os.path.dirname(folder)
    if os.path.basename(parent) == _OURS and not os.listdir(parent):
        os.rmdir(parent)


def point(link: str, prefix: str, serving: str | None) -> None:
    """Point a link to the build that is wanted, and note on both when they were in service.

    :param serving: the build that it points to now, None for none.
    """
    files.point_link(link, os.path.basename(prefix))
    for path in (serving, prefix):
        if path:
            os.utime(path)
