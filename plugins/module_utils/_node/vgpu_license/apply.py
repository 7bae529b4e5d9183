# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The licence of a host's virtual GPUs: what is done for it, and the proof that it is had."""

from __future__ import annotations

import os
import time
from typing import Callable

from ..gpu import cuda_allocation, gridd, nvidia_smi
from ..refusal import Refusal
from ..system import root, systemd, text_files
from ..system.commands import Run
from . import gridd_log, observe

_POLL_S = 2
_TELL_S = 120
_LOG_LINES = 50


def tell(verb: str, run: Run) -> None:
    """Have systemd do something with the daemon.

    :raises Refusal: it does not.
    """
    try:
        systemd.tell(verb, gridd.UNIT, timeout_s=_TELL_S, run=run)
    except systemd.UnitError as error:
        raise Refusal(
            f"{verb} {gridd.UNIT}",
            str(error),
            f"Look at `journalctl -u {gridd.UNIT}`, then run again",
        ) from error


def put(path: str, file: text_files.TextFile) -> None:
    """Bring a path to what is to be there."""
    if file.text is None and os.path.exists(gridd.CONFIGURATION):
        # Whoever runs with what goes is older than the configuration, and by that is restarted,
        # should this run be killed before.
        os.utime(gridd.CONFIGURATION)
    text_files.put(path, file)


def go_back(before: dict[str, text_files.TextFile], run: Run) -> None:
    """Have the daemon run with the files again with which there was a licence."""
    text_files.put_all(before)
    tell("restart", run)


def prove(
    wait_s: int,
    tree: root.Root,
    run: Run,
    after: str,
    sleep: Callable[[float], object],
) -> None:
    """Wait until every GPU that can be is licensed, and prove that it computes.

    :param wait_s: seconds that it may take.
    :param after: where the journal ended before (systemd.journal_end): what the daemon logged from
        there on tells why not.
    :raises Refusal: that was not so in time; the log says why.
    """
    deadline = time.monotonic() + wait_s
    while True:
        lacking = observe.unlicensed(tree)
        if lacking == []:
            break
        is_gone = observe.unit_state(run).get("ActiveState") not in ("active", "activating")
        if is_gone or time.monotonic() >= deadline:
            raise _without_licence(lacking, tree, after, run)
        sleep(_POLL_S)
    # Without a licence a guest's first allocation fails, whatever else it says.
    obstacle = cuda_allocation.obstacle(run)
    if obstacle:
        raise Refusal(
            "a licence for the GPUs of this host",
            f"they are licensed, and give no memory: {obstacle}",
            "Look at dmesg for NVRM and Xid lines, then run again",
        )


def _without_licence(lacking: list[str] | None, tree: root.Root, after: str, run: Run) -> Refusal:
    """Return the Refusal that says why there is none."""
    what = f"a licence for {', '.join(lacking) if lacking else 'the GPUs of this host'}"
    said = nvidia_smi.survey(tree)["says"]
    if said:
        return Refusal(
            what, f"nvidia-smi does not answer: {said}", "Mend the driver, then run again"
        )
    log = "\n".join(systemd.journal(gridd.UNIT, after, run)[-_LOG_LINES:])
    means, remedy, line = gridd_log.reason(log)
    return Refusal(what, f"{means} ({line})", remedy)
