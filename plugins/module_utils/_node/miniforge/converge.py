# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Miniforge of a version in its prefix, with its configuration; other versions become that one."""

from __future__ import annotations

import os
from typing import Any

from .. import steps
from ..component import bring
from ..records import manifest
from ..refusal import refuse
from ..system import own_paths, text_files
from ..system.commands import Execute
from . import observe, plan, removal
from .installer import Installer
from .wanted import Present, State

_WORK_DIR = os.path.join(own_paths.CACHE_DIR, "miniforge")


def converge(node: bring.Node, asked: dict[str, Any], check_mode: bool) -> steps.Result:
    """Bring Miniforge to the wanted state, or away; return the steps.Result.

    :param node: the bring.Node.
    :param asked: the parameters of the module; what is wanted is a wanted.State.
    :raises Refusal: as :func:`converge_present` and removal.converge do.
    """
    wanted: State = asked["wanted"]
    node.hide(wanted)
    if wanted["state"] == "absent":
        return removal.converge(wanted["prefix"], check_mode)
    return converge_present(wanted, node.execute, check_mode)


def converge_present(
    wanted: Present,
    execute: Execute,
    check_mode: bool,
    state_dir: str = own_paths.STATE_DIR,
    work_dir: str = _WORK_DIR,
) -> steps.Result:
    """Bring Miniforge to the wanted state; return the steps.Result.

    :param wanted: the wanted state.
    :param check_mode: only say what would be done.
    :param state_dir: where the notes on unfinished builds lie.
    :param work_dir: where the installer is put while it is needed.
    :raises Refusal: the prefix holds something else, or the installation fails.
    """
    files = plan.configured(wanted)
    seen = observe.observe(wanted["prefix"], files, execute, state_dir)
    refuse(plan.obstacles(wanted, seen))
    installer = Installer(wanted, plan.certificates(wanted), execute, state_dir, work_dir)
    todo = plan.plan(wanted, seen, installer)
    if todo and not check_mode:
        steps.run(todo)
        # The installer writes a configuration of its own.
        text_files.put_all(files)
        installer.prove()
    return steps.Result(steps.sentences(todo), plan.diffs(wanted, seen), _manifest(wanted))


def _manifest(wanted: Present) -> list[dict[str, Any]]:
    """Return what is in place.

    Of conda's own record the name counts, which tells its version; what is in it differs with
    each installation.
    """
    program = os.path.join(wanted["prefix"], "bin", "conda")
    record = observe.record_of(wanted["prefix"])
    paths = (program, *plan.configured(wanted))
    entries = [manifest.file(path) for path in paths if os.path.isfile(path)]
    return entries + ([manifest.presence(record)] if record else [])
