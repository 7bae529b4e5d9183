"""A conda channel and a Miniforge-style installer, from PyPI's wheels and the running CPython.

This folder, the tools and the Python decide what is built; a digest of them names the result.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from lab.channel import once, server, toolbox
from lab.channel.local import interpreter

_HERE = Path(__file__).parent
_SOLVER = _HERE.parent / "solve.py"
#: Folders of the served tree, as public mirrors lay them out.
CLOUD = "anaconda/cloud"
DEFAULTS = ("anaconda/pkgs/main", "anaconda/pkgs/r")
INSTALLERS = "miniforge"
_BUILD_S = 900


def ensure(cache, tools):
    """Return the folder to serve, built below ``cache`` where it is not there yet.

    :param tools: the tools' interpreter, see toolbox.ensure.
    :raises LabError: the running Python cannot be repackaged, or a step failed.
    """
    python = interpreter.running()
    name = digest(python, tools)
    return once.made(cache / "channel" / name, lambda served: _build(served, tools, name))


def digest(python, tools):
    """Return what names a build: 16 hex digits over all that goes into it."""
    total = hashlib.sha256(f"{python}\n{tools}\n".encode())
    total.update(python.executable.read_bytes())
    for path in sorted([_SOLVER, *_HERE.rglob("*")]):
        if path.is_file() and path.suffix != ".pyc":
            total.update(f"{path.name}\n".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def installer_path(served):
    """Return the path of the installer in the served folder."""
    return next((served / INSTALLERS).glob("Miniforge3-*.sh"))


def miniforge_version(path):
    """Return the version that an installer's name carries, such as 24.7.1-0."""
    return path.name.removeprefix("Miniforge3-").removesuffix("-Linux-x86_64.sh")


def _build(served, tools, name):
    with tempfile.TemporaryDirectory() as wheels:
        for requirements in ("wheels.txt", "alone.txt"):
            toolbox.pip(
                "download",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--only-binary",
                ":all:",
                "--dest",
                wheels,
                "--requirement",
                _HERE / requirements,
            )
        arguments = {"wheels": wheels, "served": str(served)}
        toolbox.run(tools, "lab.channel.local.build", arguments, _BUILD_S)
    (served / server.NAME_FILE).write_text(f"{name}\n", encoding="utf-8")
