"""What conda and pip really answered; see fixtures/conda/README.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "fixtures" / "conda"
VERSIONS = ("24.7", "26.7")


def content(version, name):
    """Return a recording as it stands in its file."""
    return json.loads((FOLDER / version / f"{name}.json").read_text(encoding="utf-8"))


def answer(version, name, argv=()):
    """Return a recording as the CompletedProcess that it was."""
    recorded = content(version, name)
    stdout = recorded["stdout"]
    text = stdout if isinstance(stdout, str) else json.dumps(stdout)
    return subprocess.CompletedProcess(argv, recorded["status"], text, recorded["stderr"])
