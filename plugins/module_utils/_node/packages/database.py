# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether packages are installed, by name, as the host's own database tells it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Callable

from ..system import commands
from ..system.commands import Run

_ASK_S = 60
# Which of some names are installed; what runs the database is the second one.
Installed = Callable[[Sequence[str], Run], set[str]]


def missing(
    names: Sequence[str], run: Run = commands.run, installed: Installed | None = None
) -> list[str]:
    """Return those packages that are not installed whole, in order; all, where none is known here.

    A name that an installed package provides counts as installed: a library keeps its old name
    as one of those when it is renamed.

    :param names: package names.
    :param run: what runs the package database.
    :param installed: what asks it, where that is not the host's own.
    :raises commands.NotRun: the database does not answer.
    """
    installed = installed or own()
    found = installed(names, run) if names and installed else set()
    return [name for name in names if name not in found]


def _refuse_silence(answer: subprocess.CompletedProcess[str], program: str) -> None:
    """Refuse what a database that cannot be read says: of no package that it is there, or not.

    :raises commands.NotRun: always.
    """
    raise commands.NotRun(
        "packages of this host",
        f"{program} does not tell them: {commands.last_words(answer, answer.stderr)}",
        "Mend the package database and run again",
    )


def by_dpkg(_names: Sequence[str], run: Run) -> set[str]:
    """Return the names of all packages that are installed or stood for by one that is."""
    answer = run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Provides}\n"],
        capture_output=True,
        text=True,
        timeout=_ASK_S,
    )
    if answer.returncode:
        _refuse_silence(answer, "dpkg-query")
    found = set()
    for line in answer.stdout.splitlines():
        status, name, provides = line.split("\t")
        if status[1:] == "i ":
            found.add(name)
            found.update(item.split()[0] for item in provides.split(",") if item.strip())
    return found


def by_rpm(names: Sequence[str], run: Run) -> set[str]:
    """Return those of the names that an installed package has or stands for."""
    answer = run(
        ["rpm", "--query", "--whatprovides", *names],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=_ASK_S,
    )
    # It says something of each.
    if len(answer.stdout.splitlines()) < len(names):
        _refuse_silence(answer, "rpm")
    lacking = re.findall(r"^no package provides (\S+)$", answer.stdout, re.MULTILINE)
    return set(names).difference(lacking)


def own() -> Installed | None:
    """Return what asks the host's own database, None where it has none that is known here."""
    if shutil.which("apt-get") and shutil.which("dpkg-query"):
        return by_dpkg
    return by_rpm if shutil.which("dnf") else None
