# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The licence of a host's virtual GPUs: what nvidia-gridd is told, and whether it got one."""

from __future__ import annotations

import functools
import os
import time
from typing import Any, Callable

from .. import steps
from ..component.bring import Node
from ..gpu import gridd
from ..records import manifest
from ..refusal import Refusal
from ..system import systemd
from ..system.commands import Run
from . import apply, observe, plan
from .wanted import State


def converge(
    node: Node,
    asked: dict[str, Any],
    check_mode: bool,
    sleep: Callable[[float], object] = time.sleep,
) -> steps.Result:
    """Bring the licence to the wanted state; return the steps.Result.

    :param asked: the parameters of the module; what is wanted is a wanted.State.
    :param sleep: waits some seconds for a licence.
    :raises Refusal: the daemon is not there, or gets no licence.
    """
    wanted: State = asked["wanted"]
    seen = observe.observe(node.tree, node.run, asks_gpus=wanted["state"] == "present")
    if wanted["state"] != "present":
        going = plan.absent(seen, node.run)
        if not check_mode:
            steps.run(going.steps)
        return steps.Result(steps.sentences(going.steps), going.diff)
    if not check_mode:
        plan.refuse(seen)
    planned = plan.present(wanted, asked["token"], seen, node.run)
    if not check_mode:
        after = systemd.journal_end(node.run)
        steps.run(planned.steps)
        if seen.is_up:
            prove = functools.partial(
                apply.prove, wanted["wait_s"], node.tree, node.run, after, sleep
            )
            _prove_or_go_back(prove, planned, node.run)
    entries = _manifest(planned, seen.is_up)
    return steps.Result(steps.sentences(planned.steps), planned.diff, entries)


def _prove_or_go_back(prove: Callable[[], None], planned: plan.Plan, run: Run) -> None:
    """Prove that there is a licence; else go back to the files with which there was one."""
    try:
        prove()
    except Refusal as refusal:
        if not planned.before:
            raise
        apply.go_back(planned.before, run)
        raise Refusal(
            refusal.what,
            refusal.because,
            f"{refusal.remedy}. What was configured before is in service again",
        ) from refusal


def _manifest(planned: plan.Plan, is_up: bool) -> list[dict[str, Any]]:
    present = [path for path, file in planned.files.items() if file.text is not None]
    paths = [path for path in present if os.path.isfile(path)]
    entries = [manifest.file(path) for path in paths]
    if is_up:
        entries.append(manifest.unit(gridd.UNIT, "active", "enabled"))
        entries += [manifest.fresh(gridd.UNIT, path) for path in paths]
    return entries
