# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done about a licence, from what a host has of it."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from ..gpu import gridd
from ..refusal import Refusal
from ..steps import Step
from ..system import systemd, text_files
from ..system.commands import Run
from . import apply
from .observe import Seen
from .wanted import Present

# The first line of each configuration that we write.
MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
# NVIDIA Virtual GPU Client Licensing User Guide: the owner has all rights, others may read.
_TOKEN_MODE = 0o744


class Plan(NamedTuple):
    """What is to be done.

    :ivar steps: the steps.Step, in order.
    :ivar diff: the differences of the files, as Ansible shows them.
    :ivar files: {path: text_files.TextFile} of what is to be there.
    :ivar before: what is put back where there is no licence with these files, the same way; {}
        where there was none before either.
    """

    steps: list[Step]
    diff: list[dict[str, str]]
    files: dict[str, text_files.TextFile]
    before: dict[str, text_files.TextFile]


def refuse(seen: Seen) -> None:
    """Refuse to begin where it would come to nothing.

    :raises Refusal: the daemon is not there.
    """
    if seen.unit.get("LoadState") != "loaded":
        raise Refusal(
            gridd.UNIT,
            "the driver that is installed has no such unit",
            "Install a GRID driver; some of its packages lack the unit, another release has it",
        )


def present(wanted: Present, token: str | None, seen: Seen, run: Run) -> Plan:
    """Return the Plan of how a licence comes to a host.

    :param wanted: the wanted state.
    :param token: what is in the token, None where there is none.
    :param run: what runs programs.
    """
    files = _files(wanted, token, seen)
    stale = text_files.stale(files, seen.there)
    steps = [
        Step(
            text_files.sentence(path, files[path]),
            functools.partial(apply.put, path, files[path]),
        )
        for path in stale
    ]
    if not systemd.starts_at_boot(seen.unit):
        steps.append(_telling("enable", run))
    is_active = seen.unit.get("ActiveState") == "active"
    is_licensed = seen.is_up and is_active and seen.unlicensed == []
    runs_with_them = is_licensed and not any(path in seen.newer for path in files)
    if seen.is_up and (stale or not runs_with_them):
        steps.append(_telling("restart", run))
    before = {path: text_files.as_it_was(_at(path, seen)) for path in stale} if is_licensed else {}
    diff = [text_files.diff(path, files[path], _at(path, seen)) for path in stale]
    return Plan(steps, diff, files, before)


def absent(seen: Seen, run: Run) -> Plan:
    """Return the Plan of how the licence is given back; what others wrote stays.

    The configuration goes last: it tells that the tokens are ours.

    :param run: what runs programs.
    """
    is_ours = (_at(gridd.CONFIGURATION, seen).text or "").startswith(MARK)
    paths = [*seen.tokens, gridd.CONFIGURATION] if is_ours else []
    files = {path: text_files.of(None, is_secret=path in seen.tokens) for path in paths}
    steps = [
        Step(text_files.sentence(path, file), functools.partial(text_files.put, path, file))
        for path, file in files.items()
    ]
    if steps and seen.own_kernel and seen.unit.get("ActiveState") == "active":
        # It gives the licence back when it ends.
        steps = [_telling("stop", run), *steps, _telling("start", run)]
    diff = [text_files.diff(path, file, _at(path, seen)) for path, file in files.items()]
    return Plan(steps, diff, files, {})


def _files(wanted: Present, token: str | None, seen: Seen) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of what is to be there, tokens of others going first."""
    # The daemon takes a token before a server, and is to find no other beside ours.
    found = {path: text_files.of(None, is_secret=True) for path in seen.tokens}
    if wanted["token"]:
        path = os.path.join(gridd.TOKENS, wanted["token"]["name"])
        found[path] = text_files.of(token, _TOKEN_MODE, is_secret=True)
    found[gridd.CONFIGURATION] = text_files.of(wanted["configuration"])
    return found


def _at(path: str, seen: Seen) -> text_files.OnDisk:
    return seen.there.get(path, text_files.NOTHING)


def _telling(verb: str, run: Run) -> Step:
    return Step(f"{verb} {gridd.UNIT}", functools.partial(apply.tell, verb, run))
