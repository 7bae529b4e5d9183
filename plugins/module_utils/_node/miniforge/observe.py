# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has where Miniforge is to be."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import NamedTuple

from ..conda import cli, path_state, prefixes
from ..facts_shape import PathState
from ..refusal import Refusal
from ..system import commands, safe_paths, text_files
from ..system.commands import Execute
from .installer import ask_version

_OPTION = "miniforge_prefix"


class Seen(NamedTuple):
    """What a host has of a conda installation.

    :ivar verdict: what lies at the prefix, see :func:`verdict_of`.
    :ivar version: that of its conda, None where none answers.
    :ivar files: {path: text_files.OnDisk} of the files around it.
    """

    verdict: str
    version: str | None
    files: dict[str, text_files.OnDisk]


def observe(
    prefix: str, wanted: Mapping[str, text_files.TextFile], execute: Execute, state_dir: str
) -> Seen:
    """Look at an installation and the files around it.

    :param wanted: {path: TextFile} of what is to be there of the files.
    :param state_dir: where the notes on unfinished builds lie.
    :raises Refusal: somebody else than root could change what is, or would be, run there as root.
    """
    verdict = verdict_of(path_state.of(prefix, state_dir), prefix)
    if verdict in ("conda", "free"):
        cli.refuse_unsafe(f"Miniforge in {prefix}", prefix)
    elif verdict == "unfinished":
        # What lies there is removed, and run by nobody.
        safe_paths.refuse_unsafe(f"Miniforge in {prefix}", os.path.dirname(prefix), _OPTION)
    there = text_files.look(wanted)
    version = _version(prefix, execute) if verdict == "conda" else None
    if verdict == "conda" and version is None and text_files.stale(wanted, there):
        # Its settings may be all that keeps it from answering, and are put right first.
        version = cli.version_without_settings(prefix, execute)
    return Seen(verdict, version, there)


def verdict_of(state: PathState, prefix: str) -> str:
    """Return what prefixes.verdict() says of a prefix; an environment alone is 'foreign' here.

    :param state: what path_state.of() says of it.
    """
    verdict = prefixes.verdict(state)
    return "foreign" if verdict == "conda" and not _is_base(prefix) else verdict


def record_of(prefix: str) -> str | None:
    """Return the path of conda's own record of conda, or None."""
    pattern = os.path.join(glob.escape(prefix), "conda-meta", "conda-[0-9]*.json")
    return next(iter(glob.glob(pattern)), None)


def _is_base(prefix: str) -> bool:
    """Say whether a conda prefix is an installation of conda itself, or was until it was damaged.

    A base keeps its package cache in pkgs; an environment without conda has none.
    """
    return bool(record_of(prefix)) or os.path.isdir(cli.cache_of(prefix))


def _version(prefix: str, execute: Execute) -> str | None:
    try:
        return ask_version(prefix, execute)
    except commands.NotRun:
        raise
    except Refusal:
        return None
