# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of a licence: its daemon, what that was told, and the GPUs without one."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..facts import general
from ..gpu import gridd, installed_driver, nvidia_smi
from ..system import processes, root, systemd, text_files
from ..system.commands import Run

_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "MainPID")


class Seen(NamedTuple):
    """What was found on a host when the work began.

    :ivar unit: what systemd says of the daemon, {property: value}; {} where it says nothing.
    :ivar own_kernel: whether the host runs a kernel of its own; without one no licence is had.
    :ivar is_up: whether the driver on disk is the one that is loaded; another waits for a reboot.
    :ivar unlicensed: the addresses of the GPUs without their licence; None where none takes one,
        and where none was asked.
    :ivar tokens: the paths of the tokens that the daemon finds.
    :ivar there: {path: text_files.OnDisk} of the tokens and of the configuration.
    :ivar newer: those of these files that were written after the daemon was started.
    """

    unit: dict[str, str]
    own_kernel: bool
    is_up: bool
    unlicensed: list[str] | None
    tokens: list[str]
    there: dict[str, text_files.OnDisk]
    newer: list[str]


def observe(tree: root.Root, run: Run, asks_gpus: bool) -> Seen:
    """Return what a host has of a licence.

    :param tree: the host.
    :param run: what runs programs.
    :param asks_gpus: whether it matters which GPUs are licensed: the driver may take its time.
    """
    unit, own_kernel = unit_state(run), general.own_kernel()
    is_up = own_kernel and _is_up(tree)
    tokens = _tokens()
    paths = [*tokens, gridd.CONFIGURATION]
    pids = {unit.get("MainPID", "0")}
    return Seen(
        unit,
        own_kernel,
        is_up,
        unlicensed(tree) if is_up and asks_gpus else None,
        tokens,
        text_files.look(paths),
        [path for path in paths if processes.started_before(pids, path)],
    )


def unit_state(run: Run) -> dict[str, str]:
    """Return what systemd says of the daemon now, {property: value}."""
    return systemd.show([gridd.UNIT], _PROPERTIES, run).get(gridd.UNIT, {})


def unlicensed(tree: root.Root) -> list[str] | None:
    """Return the addresses of the GPUs without their licence now; None where none takes one."""
    gpus = [
        gpu for gpu in nvidia_smi.survey(tree)["gpus"] if gpu["license"] or gpu["mode"] == "vgpu"
    ]
    # "Unlicensed" has the word in it, too.
    lacking = [gpu["address"] for gpu in gpus if not gpu["license"].startswith("Licensed")]
    return lacking if gpus else None


def _is_up(tree: root.Root) -> bool:
    version = installed_driver.loaded(tree)["version"]
    return bool(version) and version in installed_driver.libraries(tree)


def _tokens() -> list[str]:
    try:
        names = sorted(os.listdir(gridd.TOKENS))
    except OSError:
        return []
    return [os.path.join(gridd.TOKENS, name) for name in names if name.endswith(".tok")]
