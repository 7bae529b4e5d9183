# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The outside world as data: releases, addresses and digests, read from the catalog role."""

from __future__ import annotations

import functools
from typing import Any

from .. import project
from . import yaml_file

_CATALOG = project.ROOT / "roles" / "catalog" / "vars" / "main"


@functools.cache
def rows(name: str) -> list[dict[str, Any]]:
    """Return a list of the catalog, newest first, by its name without the 'catalog_' in front."""
    return _lists()[f"catalog_{name}"]


@functools.cache
def _lists() -> dict[str, list[dict[str, Any]]]:
    """Return the lists of all files by their names, as Ansible has them."""
    documents = [yaml_file.load(path) for path in _CATALOG.glob("*.yml")]
    return {name: entries for document in documents for name, entries in document.items()}
