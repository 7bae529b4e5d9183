# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host keeps of its drivers: what the installed one came from, and the one before it.

A repository may have the newest packages alone, and a .run may be nowhere any more.
"""

from __future__ import annotations

import json
import os
import re
import shutil

from ..system import files, own_paths
from ..system.root import Root

DIR = os.path.join(own_paths.STATE_DIR, "nvidia_driver")

_KEPT = 2
_NOTE = "kept.json"
_FIELDS = ("name", "version", "flavour", "sha256")
# What keeping leaves: a .run, or a folder of packages.
_NAME = re.compile(r"[0-9]+(?:\.[0-9]+)+(?:-\w+\.run)?")


def rows(tree: Root | None = None, folder: str = DIR) -> list[dict[str, str]]:
    """Return [{path, version, flavour, sha256}] of what is kept, the installed one first.

    ``path`` is a .run, or a folder of packages, which have no sha256.

    :param tree: the host.
    """
    tree = tree or Root()
    found = [{**row, "path": f"{folder}/{row['name']}"} for row in _noted(tree, folder)]
    return [
        {key: row[key] for key in ("path", *_FIELDS[1:])}
        for row in found
        if tree.exists(row["path"])
    ]


def make(folder: str = DIR) -> None:
    """Make the folder, for root alone."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)


def note(name: str, version: str, flavour: str = "", sha256: str = "", folder: str = DIR) -> None:
    """Note what lies in the folder under a name as that which is installed; drop what is too old.

    :param name: '535.161.08-tesla.run', or '535.161.08' for a folder of packages.
    """
    row = dict(zip(_FIELDS, (name, version, flavour, sha256)))
    noted = [row, *(old for old in _noted(Root(), folder) if old["name"] != name)][:_KEPT]
    text = json.dumps(noted, indent=2) + "\n"
    files.write_text(os.path.join(folder, _NOTE), text, mode=0o600)
    for left in set(filter(_NAME.fullmatch, os.listdir(folder))) - {old["name"] for old in noted}:
        path = os.path.join(folder, left)
        (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)


def _noted(tree: Root, folder: str) -> list[dict[str, str]]:
    try:
        noted = files.parsed(tree.text(f"{folder}/{_NOTE}"))
    except ValueError:
        return []
    return [
        row
        for row in (noted if isinstance(noted, list) else [])
        if isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in _FIELDS)
        and _NAME.fullmatch(row["name"])
    ]
