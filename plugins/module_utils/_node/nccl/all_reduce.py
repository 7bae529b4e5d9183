# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ranks that a host has in an all_reduce: started together, and what they noted."""

from __future__ import annotations

import concurrent.futures
import inspect
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from ..conda import prefixes
from ..system import commands, files, root
from ..system.commands import Run
from . import rank_process

# Importing PyTorch from a cold disk, CUDA's start and NCCL's take this long and no longer.
_START_S = 120
# A log is returned as far as it is about the network; the rest of NCCL's is as long as a book.
_TELLING = (" via ", "NET/", "WARN", "NCCL version")
_LOG_LINES = 400
_LARGEST = 16 << 20
_NCCL = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET"}


def limit_s(timeout_s: int) -> int:
    """Return the seconds after which a rank is ended: to meet, and to sum, it has the time-out."""
    return 2 * timeout_s + _START_S


def take_part(
    python: str, orders: Sequence[Mapping[str, Any]], folder: str, run: Run = commands.run
) -> list[dict[str, Any]]:
    """Run the ranks of this host to their end and return what each noted, in their order.

    A row has ``rank``, ``stage`` (torch, name, listen, reach, store, meet, group, sum or done: what
    it was about to do when it ended), ``says`` ('' where nothing went wrong), and as far as it came
    ``torch`` (version), ``gpus`` (number), ``addresses`` (of the rendezvous host), ``own`` (whether
    one of them is the host's, of rank 0), ``missing`` (ranks), and ``log`` (lines).

    :param python: that has PyTorch, by the path that it has in an environment, or by its name alone
        where it is the host's own. Of an environment that others could change none is run.
    :param orders: a list of {backend, rank, world_size, host, port, timeout_s, device}.
    :param folder: a folder for their notes and logs, which is the caller's to remove.
    :param run: what runs programs.
    """
    prefix = os.path.dirname(os.path.dirname(python))
    flaw = prefixes.why_unsafe(prefix) if prefix else ""
    if flaw:
        says = f"{flaw}, so that others than root decide what is run"
        row = {"stage": "torch", "says": says, "log": []}
        return [{"rank": order["rank"], **row} for order in orders]
    with concurrent.futures.ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(lambda order: _rank(python, order, folder, run), orders))


def _rank(python: str, order: Mapping[str, Any], folder: str, run: Run) -> dict[str, Any]:
    limit = limit_s(order["timeout_s"])
    base = os.path.join(folder, f"rank{order['rank']}")
    order = {**order, "limit_s": limit, "notes": f"{base}.json"}
    argv = [python, "-c", inspect.getsource(rank_process), json.dumps(order)]
    ended = ""
    with open(f"{base}.log", "w", encoding="utf-8") as log:
        try:
            status = run(
                argv,
                # Python looks for modules there first.
                cwd=folder,
                env={**os.environ, **(_NCCL if order["backend"] == "nccl" else {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=limit,
            ).returncode
            ended = f"its process ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            ended = f"it was still at it after {limit} s, and was ended"
        except OSError as error:
            ended = f"{python}: {error.strerror}"
    lines = root.Root().data(f"{base}.log", _LARGEST).decode("utf-8", "replace").splitlines()
    telling = [line for line in lines if any(word in line for word in _TELLING)]
    return {
        "rank": order["rank"],
        "says": ended or _unsaid(lines),
        **_noted(order["notes"]),
        "log": telling[:_LOG_LINES],
    }


def _noted(path: str) -> dict[str, Any]:
    """Return what a rank noted; nothing where it could not even begin."""
    try:
        noted = files.read_json(path)
    except (OSError, ValueError):
        return {"stage": "torch"}
    # A rank that ended well, or knows why it did not, said all there is to say.
    if noted.get("stage") == "done" or noted.get("missing"):
        return {"says": "", **noted}
    return noted


def _unsaid(lines: Sequence[str]) -> str:
    """Return the last line of a log, for a rank that ended in silence."""
    return lines[-1] if lines else ""
