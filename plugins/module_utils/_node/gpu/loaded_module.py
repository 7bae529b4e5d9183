# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of the driver's module that is loaded: decided alike by the plan and the node.

All of it follows from the facts of gpu_host.survey, in which the general ones are.
"""

from __future__ import annotations

from collections.abc import Container

from ..facts_shape import GpuClient, Surveyed
from ..kernel import secure_boot
from . import clients, held_modules, pci

#: What to do where a module is held that was to be exchanged in memory.
TO_BE_FREED = (
    "End that, or consent with gpunode_consent: [stop_gpu_clients, reboot] to have it exchanged by "
    "a reboot"
)


def is_loaded(facts: Surveyed, version: str, is_open: bool) -> bool:
    """Say whether the module that is loaded is of a version and kind."""
    return bool(facts["driver"]["loaded"] == {"version": version, "open": is_open})


def is_loadable(facts: Surveyed) -> bool:
    """Say whether the kernel that runs has a module or can be built one, and would take it.

    One that is gone from the disk itself, or is the host's of a container, has none to come.
    """
    running = facts["kernel"]
    on_disk = {row["kernel"] for row in facts["driver"]["modules"] if row["name"] == "nvidia"}
    has_module = any(
        row["release"] == running and (row["headers"] or running in on_disk)
        for row in facts["kernels"]
    )
    takes_it = has_module and not secure_boot.lacks_key(facts["secure_boot"])
    return bool(facts["own_kernel"] and pci.own(facts["gpus"]) and takes_it)


def may_exchange(facts: Surveyed, consent: Container[str]) -> bool:
    """Say whether a module that is loaded is exchanged in memory, once nobody uses the GPUs.

    Else it stays until a reboot, which whoever consents to prefers.
    """
    is_asked = "stop_gpu_clients" in consent and "reboot" not in consent
    return bool(facts["driver"]["loaded"]["version"]) and is_loadable(facts) and is_asked


def is_exchanged(facts: Surveyed, consent: Container[str], stopped: Container[str]) -> bool:
    """Say whether it is, with some units stopped for so long; see :func:`still_at_work`."""
    is_free = not still_at_work(facts, stopped) and not what_holds(facts, stopped)
    return may_exchange(facts, consent) and is_free


def what_holds(facts: Surveyed, stopped: Container[str]) -> str:
    """Return what would keep it loaded with some units stopped, and nobody at work; '' for nothing.

    :param stopped: names of units, as for :func:`still_at_work`.
    """
    rows = [row for row in facts["held_modules"] if not held_modules.goes_with(row, stopped)]
    return "; ".join(map(held_modules.described, rows))


def still_at_work(facts: Surveyed, stopped: Container[str]) -> list[GpuClient]:
    """Return those rows of clients.at_work that would use the GPUs with some units stopped.

    :param stopped: names of units. The plan knows those of gpunode_drain; the node asks systemd
        what is stopped along with them, which no facts tell. So it may come to work that the plan
        sends to a reboot, or refuses until the unit is named itself; never to less.
    """
    at_work = clients.at_work(facts["gpu_clients"])
    return [row for row in at_work if row["unit"] not in stopped]
