"""Nodes that have the lab's Miniforge and environment, which site.yml brought there once."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from lab.images import Image
from system import playbooks

#: What it depends on how such a node is brought there.
_MADE_FROM = ("plugins", "roles", "playbooks", "inventory/lab", "site.yml", "ansible.cfg")


def fresh(lab, name):
    """Make a node new, with all that site.yml brings it but applications."""
    lab.fresh(name, Image(_key(), _prepare, is_own=True))


def _key():
    digest = hashlib.sha256()
    for top in _MADE_FROM:
        place = playbooks.PROJECT / top
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _prepare(_lab, name):
    nothing = json.dumps({"gunicorn_app_list": []})
    with tempfile.TemporaryDirectory() as folder:
        run = playbooks.site("--limit", name, "-e", nothing, log=Path(folder) / "ssh")
    assert run.status == 0, run.messages()
