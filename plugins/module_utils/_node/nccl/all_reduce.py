# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ranks that a host has in an all_reduce: started together, and what they noted."""

from __future__ import annotations

import concurrent.futures
import errno
import inspect
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ..conda import prefixes
from ..refusal import Refusal
from ..system import commands, confinement, transient_unit
from ..system.commands import Run
from . import devices, rank_process

# Importing PyTorch from a cold disk, CUDA's start and NCCL's take this long and no longer.
_START_S = 120
# A log is returned as far as it is about the network; the rest of NCCL's is as long as a book.
_TELLING = (" via ", "NET/", "WARN", "NCCL version")
_LOG_LINES = 400
_NCCL = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET"}
# Variables that tell the libraries of a rank what to load and which way to take. Others stay here:
# the environment of a unit can be read by all.
_TELL_LIBRARIES = ("NCCL_", "GLOO_", "CUDA_", "TORCH_", "UCX_", "OMP_", "LD_LIBRARY_PATH")
# EXIT_EXEC (systemd, src/shared/exit-status.h).
_NOT_EXECUTED = 203


def limit_s(timeout_s: int) -> int:
    """Return the seconds after which a rank is ended: to meet, and to sum, it has the time-out."""
    return 2 * timeout_s + _START_S


def take_part(
    python: str,
    orders: Sequence[Mapping[str, Any]],
    run: Run = commands.run,
    warn: Callable[[str], object] = repr,
) -> list[dict[str, Any]]:
    """Run the ranks of this host to their end and return what each noted, in their order.

    Where systemd runs the host, each is a unit of its own, whose user has no rights.

    A row has ``rank``, ``stage`` (torch, name, listen, reach, store, meet, group, sum or done: what
    it was about to do when it ended), ``says`` ('' where nothing went wrong), and as far as it came
    ``torch`` (version), ``gpus`` (number), ``addresses`` (of the rendezvous host), ``own`` (whether
    one of them is the host's, of rank 0), ``missing`` (ranks), and ``log`` (lines).

    :param python: that has PyTorch, by the path that it has in an environment, or by its name alone
        where it is the host's own. Of an environment that others could change none is run.
    :param orders: a list of {backend, rank, world_size, host, port, timeout_s, device}.
    :param run: what runs programs.
    :param warn: told in a sentence where a rank was confined less than it was to be.
    """
    prefix = os.path.dirname(os.path.dirname(python))
    flaw = prefixes.why_unsafe(prefix) if prefix else ""
    program = shutil.which(python) or ""
    obstacle = ""
    if flaw:
        obstacle = f"{flaw}, so that others than root decide what is run"
    elif not program:
        why = errno.EACCES if os.path.exists(python) else errno.ENOENT
        obstacle = f"{python}: {os.strerror(why)}"
    if obstacle:
        row = {"stage": "torch", "says": obstacle, "log": []}
        return [{"rank": order["rank"], **row} for order in orders]
    devices.make(run)
    with concurrent.futures.ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(lambda order: _rank(program, order, run, warn), orders))


def _rank(
    program: str, order: Mapping[str, Any], run: Run, warn: Callable[[str], object]
) -> dict[str, Any]:
    name, limit = f"rank{order['rank']}", limit_s(order["timeout_s"])
    # One line: systemd-run makes a description of it.
    code = f"exec({inspect.getsource(rank_process)!r})"
    argv = [program, "-c", code, json.dumps({**order, "limit_s": limit})]
    told = {key: os.environ[key] for key in os.environ if key.startswith(_TELL_LIBRARIES)}
    told.update(_NCCL if order["backend"] == "nccl" else {})
    ended, lines, began = "", [], time.monotonic()
    too_long = f"it was still at it after {limit} s, and was ended"
    try:
        transient_unit.settle(name, 0, run)
        called = f"Description=Rank {order['rank']} of an all_reduce"
        argv = confinement.unprivileged(argv, [called, *devices.settings()])
        done = transient_unit.execute(name, argv, told, limit, run, warn)
    except subprocess.TimeoutExpired:
        ended = too_long
    except OSError as error:
        ended = f"{program}: {error.strerror}"
    except Refusal as refusal:
        ended = refusal.because
    else:
        lines = f"{done.stdout}{done.stderr}".splitlines()
        if done.returncode == _NOT_EXECUTED and not lines:
            ended = "a user without rights, as whom it is run, cannot execute it"
        elif done.returncode and time.monotonic() - began >= limit:
            ended = too_long
        elif done.returncode:
            ended = f"its process ended with status {done.returncode}"
    telling = [line for line in lines if any(word in line for word in _TELLING)]
    return {
        "rank": order["rank"],
        "says": ended or _unsaid(lines),
        **_judged(noted(lines)),
        "log": telling[:_LOG_LINES],
    }


def noted(lines: Sequence[str]) -> dict[str, Any]:
    """Return the last whole note in what a rank printed, of one that could not even begin a stage.

    :param lines: of its output.
    """
    for line in reversed(lines):
        if line.startswith(rank_process.MARK):
            try:
                note = json.loads(line[len(rank_process.MARK) :])
            except ValueError:
                continue
            if isinstance(note, dict):
                return note
    return {"stage": "torch"}


def _judged(note: dict[str, Any]) -> dict[str, Any]:
    # A rank that ended well, or knows why it did not, said all there is to say.
    is_whole = note.get("stage") == "done" or note.get("missing")
    return {"says": "", **note} if is_whole else note


def _unsaid(lines: Sequence[str]) -> str:
    """Return the last line that a rank printed besides its notes, for one that ended in silence."""
    others = [line for line in lines if line and not line.startswith(rank_process.MARK)]
    return others[-1] if others else ""
