# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removing a conda installation, with what it left outside of its folder."""

from __future__ import annotations

import glob
import os
import pwd

from ..conda import cli, path_state, prefixes
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import files, folders, in_use, own_paths, unfinished_folder

_WHAT = "remove Miniforge"


def converge(
    prefix, check_mode, state_dir=own_paths.STATE_DIR, home=None, certificates=own_paths.CA_PATH
):
    """Remove the conda installation of a prefix; return the steps.Result.

    :param check_mode: only say what would be done.
    :param state_dir: where the notes on unfinished builds lie.
    :param home: root's home, in which conda notes its environments.
    :param certificates: the path of those that were handed over for conda.
    :raises Refusal: something else lies there, or something needs it.
    """
    notes = os.path.join(home or pwd.getpwuid(0).pw_dir, ".conda", "environments.txt")
    is_there = _is_there(prefix, state_dir)
    before, after = _noted(notes, prefix)
    changes = []
    # Before the prefix, without which nobody would come back to them.
    if before is not None and (before != after or (is_there and not after)):
        changes.append(f"take {prefix} out of {notes}" if after else f"remove {notes}")
        if not check_mode:
            _write_notes(notes, after)
    if is_there:
        changes.append(f"remove {prefix}")
        if not check_mode:
            unfinished_folder.remove(prefix, state_dir)
            folders.remove_if_empty(own_paths.CACHE_DIR)
    if os.path.lexists(certificates):
        changes.append(f"remove {certificates}")
        if not check_mode:
            os.unlink(certificates)
            folders.remove_if_empty(os.path.dirname(certificates))
    return Result(changes, manifest=[] if os.path.lexists(prefix) else [manifest.absence(prefix)])


def _is_there(prefix, state_dir):
    """Say whether there is an installation that may go."""
    state = path_state.of(prefix, state_dir)
    verdict = prefixes.verdict(state)
    if verdict == "free":
        # A mount point of its own is not ours to remove.
        return state["kind"] == "directory" and not os.path.ismount(prefix)
    if verdict == "conda" and not is_base(prefix):
        verdict = "foreign"
    if verdict == "foreign":
        raise prefixes.foreign(_WHAT, prefix, "miniforge_prefix")
    _require_unused(prefix)
    return True


def is_base(prefix):
    """Say whether a conda prefix is an installation of conda itself, or was until it was damaged.

    A base keeps its package cache in pkgs; an environment without conda has none.
    """
    return bool(record_of(prefix)) or os.path.isdir(cli.cache_of(prefix))


def record_of(prefix):
    """Return the path of conda's own record of conda, or None."""
    pattern = os.path.join(glob.escape(prefix), "conda-meta", "conda-[0-9]*.json")
    return next(iter(glob.glob(pattern)), None)


def _require_unused(prefix):
    used = {**in_use.by_units([prefix]), **in_use.by_processes([prefix])}
    if used:
        raise Refusal(
            f"{_WHAT} from {prefix}", f"{used[prefix]} lives in it", "End that, and run again"
        )
    others = [
        path
        for path in sorted(glob.glob(os.path.join(glob.escape(prefix), "envs", "*")))
        if prefixes.is_conda(path)
    ]
    if others:
        raise Refusal(
            f"{_WHAT} from {prefix}",
            f"environments lie in it that were made by hand: {', '.join(others)}",
            "Remove them or have them elsewhere, and run again",
        )


def _noted(notes, prefix):
    """Return (before, after) of the text in which conda notes its environments; None for none."""
    try:
        with open(notes, encoding="utf-8") as handle:
            before = handle.read()
    except FileNotFoundError:
        return None, None
    lines = [
        line
        for line in before.splitlines(keepends=True)
        if not (line.strip() + os.sep).startswith(prefix + os.sep)
    ]
    return before, "".join(lines)


def _write_notes(notes, text):
    if text:
        files.write_text(notes, text, mode=os.stat(notes).st_mode & 0o777)
        return
    os.unlink(notes)
    folders.remove_if_empty(os.path.dirname(notes))
