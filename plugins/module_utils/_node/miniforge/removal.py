# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removing a conda installation, with what it left outside of its folder."""

from __future__ import annotations

import functools
import glob
import os
import pwd
from typing import NamedTuple

from .. import steps
from ..conda import path_state, prefixes
from ..records import manifest
from ..refusal import Refusal, refuse
from ..system import files, folders, in_use, own_paths, text_files, unfinished_folder
from . import observe

_WHAT = "remove Miniforge"


class Remains(NamedTuple):
    """What a host has of an installation that is to go.

    :ivar verdict: what lies at the prefix, see observe.verdict_of().
    :ivar is_folder: whether a folder lies there that is not the mount point of a disk.
    :ivar user: who lives in it, "" for nobody.
    :ivar environments: those in it that were made by hand.
    :ivar noted: the text in which conda notes its environments, None where there is none.
    :ivar certificates: whether those are there that were handed over for conda.
    """

    verdict: str
    is_folder: bool
    user: str
    environments: list[str]
    noted: str | None
    certificates: bool


def converge(
    prefix: str,
    check_mode: bool,
    state_dir: str = own_paths.STATE_DIR,
    home: str | None = None,
    certificates: str = own_paths.CA_PATH,
) -> steps.Result:
    """Remove the conda installation of a prefix; return the steps.Result.

    :param check_mode: only say what would be done.
    :param state_dir: where the notes on unfinished builds lie.
    :param home: root's home, in which conda notes its environments.
    :param certificates: the path of those that were handed over for conda.
    :raises Refusal: something else lies there, or something needs it.
    """
    notes = os.path.join(home or pwd.getpwuid(0).pw_dir, ".conda", "environments.txt")
    seen = _observe(prefix, notes, certificates, state_dir)
    refuse(obstacles(prefix, seen))
    todo = plan(prefix, notes, certificates, seen, state_dir)
    if not check_mode:
        steps.run(todo)
    absent = [] if os.path.lexists(prefix) else [manifest.absence(prefix)]
    return steps.Result(steps.sentences(todo), manifest=absent)


def _observe(prefix: str, notes: str, certificates: str, state_dir: str) -> Remains:
    state = path_state.of(prefix, state_dir)
    used = {**in_use.by_units([prefix]), **in_use.by_processes([prefix])}
    within = sorted(glob.glob(os.path.join(glob.escape(prefix), "envs", "*")))
    return Remains(
        observe.verdict_of(state, prefix),
        state["kind"] == "directory" and not os.path.ismount(prefix),
        used.get(prefix, ""),
        [path for path in within if prefixes.is_conda(path)],
        text_files.read(notes),
        os.path.lexists(certificates),
    )


def obstacles(prefix: str, seen: Remains) -> list[Refusal]:
    """Return a Refusal for each thing that keeps an installation from being removed."""
    if seen.verdict == "foreign":
        return [prefixes.foreign(_WHAT, prefix, "miniforge_prefix")]
    found = []
    if seen.user and seen.verdict != "free":
        found.append(
            Refusal(f"{_WHAT} from {prefix}", f"{seen.user} lives in it", "End that, and run again")
        )
    if seen.environments and seen.verdict != "free":
        found.append(
            Refusal(
                f"{_WHAT} from {prefix}",
                f"environments lie in it that were made by hand: {', '.join(seen.environments)}",
                "Remove them or have them elsewhere, and run again",
            )
        )
    return found


def plan(
    prefix: str, notes: str, certificates: str, seen: Remains, state_dir: str
) -> list[steps.Step]:
    """Return the steps that leave nothing of an installation.

    :param notes: the path of the text in which conda notes its environments.
    :param certificates: the path of those that were handed over for conda.
    :param state_dir: where the notes on unfinished builds lie.
    """
    # A mount point of its own is not ours to remove.
    is_there = seen.verdict != "free" or seen.is_folder
    todo = []
    # Before the prefix, without which nobody would come back to them.
    if seen.noted is not None:
        left = _without(prefix, seen.noted)
        if left != seen.noted or (is_there and not left):
            says = f"take {prefix} out of {notes}" if left else f"remove {notes}"
            todo.append(steps.Step(says, functools.partial(_write_notes, notes, left)))
    if is_there:
        remove = functools.partial(_remove_prefix, prefix, state_dir)
        todo.append(steps.Step(f"remove {prefix}", remove))
    if seen.certificates:
        remove = functools.partial(_remove_file, certificates)
        todo.append(steps.Step(f"remove {certificates}", remove))
    return todo


def _without(prefix: str, noted: str) -> str:
    """Return the text in which conda notes its environments without those of a prefix."""
    return "".join(
        line
        for line in noted.splitlines(keepends=True)
        if not (line.strip() + os.sep).startswith(prefix + os.sep)
    )


def _write_notes(notes: str, text: str) -> None:
    if text:
        files.write_text(notes, text, mode=os.stat(notes).st_mode & 0o777)
    else:
        _remove_file(notes)


def _remove_prefix(prefix: str, state_dir: str) -> None:
    unfinished_folder.remove(prefix, state_dir)
    folders.remove_if_empty(own_paths.CACHE_DIR)


def _remove_file(path: str) -> None:
    """Remove a file, and its folder where there was nothing else in it."""
    os.unlink(path)
    folders.remove_if_empty(os.path.dirname(path))
