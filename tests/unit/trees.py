"""Small trees that stand for a host, and programs that answer from a table."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root


def planted(root, files=None, links=None, answers=None):
    """Return a Root of a host with some files, links and programs.

    :param root: the folder to plant it in.
    :param files: {absolute path: text or bytes}.
    :param links: {absolute path: what the link points to}.
    :param answers: {program: what it prints}; every other one is missing.
    """
    for path, content in (files or {}).items():
        place = Path(root, path.lstrip("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    for path, target in (links or {}).items():
        place = Path(root, path.lstrip("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def run(argv, **_options):
        if argv[0] not in (answers or {}):
            raise FileNotFoundError(argv[0])
        content = answers[argv[0]]
        stdout = content if isinstance(content, bytes) else content.encode()
        return subprocess.CompletedProcess(argv, 0, stdout, b"")

    return Root(str(root), run)


def looked_at(look, files=None, links=None, answers=None):
    """Return what a function says of a tree that is there for this call only."""
    with tempfile.TemporaryDirectory() as root:
        return look(planted(root, files, links, answers))
