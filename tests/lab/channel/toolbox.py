"""The conda tools of the lab: a virtual environment of its own, made once for all checkouts."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from lab import command
from lab.channel import once

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
_TESTS = Path(__file__).parents[2]
_INSTALL_S = 600
# Or a killed run's child would go on writing where the next run builds.
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def ensure(cache):
    """Return the interpreter of the tools' environment below ``cache``, made first where missing.

    :raises LabError: the tools could not be installed.
    """
    made_from = f"{sys.version}\n{sys.base_prefix}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    return once.made(cache / "tools" / digest, _install) / "bin" / "python"


def run(tools, module, arguments, timeout_s):
    """Run a module of ours under the tools' interpreter and return its answer.

    :param arguments: given to it as JSON on its standard input.
    :returns: the JSON that it writes as the last line of its standard output.
    :raises LabError: it failed or took longer than ``timeout_s``.
    """
    argv = ["env", f"PYTHONPATH={_TESTS}", tools, "-m", module]
    done = command.run([*_ENDS_WITH_US, *argv], timeout_s=timeout_s, text_in=json.dumps(arguments))
    return json.loads(done.stdout.splitlines()[-1])


def pip(*arguments):
    """Run this interpreter's pip with the machine's settings.

    :raises LabError: it failed, with what it said.
    """
    argv = [sys.executable, "-m", "pip", *arguments]
    command.run([*_ENDS_WITH_US, *argv], timeout_s=_INSTALL_S)


def _install(folder):
    command.run([sys.executable, "-m", "venv", "--without-pip", folder])
    # conda-ship asks for a conda that no package index has; the list is whole without it.
    pip(
        "--python",
        folder / "bin" / "python",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--requirement",
        REQUIREMENTS,
    )
