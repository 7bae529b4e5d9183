# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan for a driver done, undone where the exchange fails, and its effect proven."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from .. import steps
from ..component.bring import Node
from ..facts_shape import Surveyed
from ..gpu import cuda_allocation, drained, in_kernel_drivers, installed_driver
from ..records import manifest
from ..refusal import Refusal
from ..system import systemd
from ..system.commands import Run
from . import drain, services
from .observe import Seen


def apply(phases: tuple[list[steps.Step], ...], seen: Seen, node: Node) -> None:
    """Do what is planned.

    :param phases: a plan.Plan.
    :raises Refusal, OSError: it failed; where the exchange did, what was there before is back.
    """
    preparing, draining, exchanging, running = phases
    with unit_errors_refused():
        steps.run([*preparing, *draining])
        try:
            steps.run(exchanging)
        except (Refusal, OSError) as error:
            _put_back(seen, node, error)
        steps.run(running)


@contextlib.contextmanager
def unit_errors_refused() -> Iterator[None]:
    """Raise a Refusal where systemd does not do as told in a ``with`` block."""
    try:
        yield
    except systemd.UnitError as error:
        raise Refusal(
            "a unit of the driver", str(error), "Look at its log, and run again"
        ) from error


def load(node: Node) -> None:
    """Load the driver that is on disk, in place of one that is loaded.

    :raises Refusal: it cannot be.
    """
    obstacle = drain.reload_modules(node.tree, node.run)
    if not obstacle:
        return
    remedy = "The driver is on disk. Look at dmesg for NVRM lines, mend that and run again"
    # What was loaded before may have gone, and nothing come.
    left = installed_driver.loaded(node.tree)["version"]
    if left:
        remedy = (
            f"The driver is on disk, {left} stays loaded, and a reboot ends that: consent with "
            "gpunode_consent: [reboot], or mend that and run again"
        )
    noted = drained.noted()
    stopped = ", ".join(noted["triggers"] + noted["services"])
    waiting = f". Until then stay stopped: {stopped}" if stopped else ""
    raise Refusal("load the module", obstacle, remedy + waiting)


def restore(run: Run) -> None:
    """Start what was stopped for the driver.

    :raises Refusal: a unit does not start, or is gone.
    """
    gone = drain.restore(run)
    if gone:
        raise Refusal(
            "start again what was stopped for the driver",
            f"{', '.join(gone)} is no unit of this host any more",
            "All others run again; take it out of gpunode_drain",
        )


def prove(seen: Seen, facts: Surveyed, node: Node) -> str:
    """Prove the effect; return the version of the driver that is there.

    :param facts: the host as it is now.
    :raises Refusal: the driver is not what was wanted, or computes nothing.
    """
    version = seen.method.prove(facts)
    for name, row in in_kernel_drivers.by_name(facts["in_kernel_drivers"]).items():
        if row["initramfs"] or not row["blacklisted"]:
            images = ", ".join(row["initramfs"])
            raise Refusal(
                f"driver of the kernel's own: {name}",
                "it would be loaded again at the next boot"
                + (f", from the initramfs of {images}" if images else ""),
                "Look who puts it there: a file of modprobe.d or of the initramfs' own",
            )
    loaded = facts["driver"]["loaded"]["version"]
    # A guest computes once it has a licence, which vgpu_license proves.
    if loaded and loaded == version and seen.target.gpus and not seen.target.wanted["guest"]:
        obstacle = cuda_allocation.obstacle(node.run)
        if obstacle:
            raise Refusal(
                f"NVIDIA driver {version}",
                f"it is loaded, and gives no memory of the GPUs: {obstacle}",
                "Look at dmesg for NVRM and Xid lines",
            )
    return version


def in_place(
    seen: Seen, names: list[str], is_loaded: bool, states: dict[str, dict[str, str]]
) -> list[dict[str, Any]]:
    """Return what is in place, as entries of records/manifest.py.

    :param names: the daemons that are to run.
    :param is_loaded: whether the driver on disk is loaded. Until a reboot the daemons are as they
        are: those of before run on, or none does.
    :param states: those of the daemons, as they are now.
    """
    files = [path for path, file in seen.files.items() if file.text is not None]
    return [
        *(manifest.file(path) for path in files if os.path.isfile(path)),
        *(
            # Where systemd does not answer, as in an image, the state is for no one to look at.
            manifest.unit(
                name,
                "active" if is_loaded else states.get(name, {}).get("ActiveState"),
                "enabled",
            )
            for name in names
        ),
        *seen.method.manifest(),
    ]


def _put_back(seen: Seen, node: Node, error: Exception) -> None:
    """Bring back the driver that was there, its settings and whom it worked for, and raise.

    :raises Refusal: that of the error, with what came of it.
    :raises OSError: the error.
    """
    for path, file in seen.stale.items():
        services.put(path, file, node.run)
    try:
        words = seen.method.going_back()
        drain.restore(node.run)
    except Refusal as refusal:
        words = f"The driver before could not be brought back: {refusal}"
    if isinstance(error, Refusal):
        raise Refusal(error.what, error.because, f"{words}. {error.remedy}") from error
    raise error
