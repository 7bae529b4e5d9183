# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The outside world as data: releases, addresses and digests, read from the catalog role."""

from __future__ import annotations

import functools
import pathlib

import yaml

_CATALOG = pathlib.Path(__file__).resolve().parents[2] / "roles" / "catalog" / "vars" / "main.yml"


@functools.cache
def rows(name):
    """Return a list of the catalog, newest first, by its name without the 'catalog_' in front."""
    return yaml.safe_load(_CATALOG.read_text(encoding="utf-8"))[f"catalog_{name}"]
