# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done about peer memory, one thing each."""

from __future__ import annotations

import os
from typing import Any

from ..facts_shape import Kernel
from ..kernel import modprobe
from ..refusal import Refusal
from ..system.commands import Run
from ..system.root import Root
from . import fit, nv_peer_mem
from .delivery import Delivery


def build(way: Delivery[Any], kernels: list[Kernel], drivers: dict[str, str], tree: Root) -> None:
    """Build the modules of some kernels, each held against what is there by then.

    :param kernels: rows of kernels.survey.
    :param drivers: {release: path of the driver's module}.
    :raises Refusal: one cannot be built, or would not load.
    """

    def hold(path: str, release: str) -> None:
        against = fit.against(tree, release, drivers[release])
        fit.hold(tree, path, nv_peer_mem.NAME, against)

    way.build(kernels, hold)


def remove_module(tree: Root, run: Run, path: str) -> None:
    """Remove a module that nobody answers for from its kernel."""
    os.unlink(tree.path(path))
    run(["depmod", path.split("/")[3]], capture_output=True)


def load(name: str, run: Run) -> None:
    """Load a module.

    :raises Refusal: it is not let in.
    """
    words = modprobe.load(name, run)
    if words:
        raise Refusal(
            f"load {name}",
            words,
            "It is in place. Look at the end of dmesg, mend that and run again",
        )
