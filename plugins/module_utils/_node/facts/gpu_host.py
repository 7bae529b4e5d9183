# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that is to be known of a host with GPUs and RDMA devices; docs/facts.md has the shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from ..facts_shape import GpuHost
from ..gpu import (
    clients,
    drained,
    fabric_manager,
    faults,
    gridd,
    held_modules,
    in_kernel_drivers,
    installed_driver,
    nvidia_smi,
    pci,
)
from ..kernel import kernels, secure_boot
from ..packages import stack_packages
from ..rdma import rdma_stack
from ..system import commands, management_interface, systemd
from ..system.commands import Run
from ..system.open_files import OpenFiles
from ..system.root import Root
from . import general

_UNITS = (fabric_manager.UNIT, gridd.UNIT)
# systemd.unit(5); what is generated late stands for a script in /etc/init.d.
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator.late",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def no_programs(argv: Sequence[str], **_options: Any) -> NoReturn:
    """Run nothing: what a root other than "/" has for programs cannot be run here.

    :raises FileNotFoundError: always, as commands.run does for a program that is not there.
    """
    raise FileNotFoundError(argv[0])


def survey(
    root: str, running: str, pid: int, run: Run = commands.run, files: OpenFiles | None = None
) -> GpuHost:
    """Return the facts of docs/facts.md.

    :param root: the folder that stands for "/"; see root.Root.
    :param running: the release of the kernel that the host runs as its own, '' for none.
    :param pid: the process whose connection is that of this run.
    :param run: what runs programs.
    :param files: what processes have open; looked at where it is None.
    """
    tree = Root(root, run)
    files = files or OpenFiles(tree.path("/proc"))
    packages = stack_packages.survey(tree)
    states = _states(tree, run)
    driver = installed_driver.survey(tree)
    opened = clients.clients(tree, files)
    return {
        "virtualization": general.virtualization(tree),
        "gpus": pci.gpus(tree),
        "nvswitches": pci.nvswitches(tree),
        "rdma_devices": rdma_stack.devices(tree),
        "kernels": kernels.survey(tree, running),
        "secure_boot": secure_boot.survey(tree),
        "driver": driver,
        "packages": packages,
        "nvidia_smi": nvidia_smi.survey(tree),
        "fabric_manager": fabric_manager.survey(
            tree, packages, states.get(fabric_manager.UNIT, {})
        ),
        "licensing": gridd.survey(tree, states.get(gridd.UNIT, {})),
        "in_kernel_drivers": in_kernel_drivers.survey(tree),
        "gpu_clients": opened,
        "held_modules": held_modules.survey(tree, opened, files),
        **faults.survey(tree),
        "drained": _drained(tree),
        "rdma_stack": rdma_stack.survey(tree, packages, running),
        "peer_memory": rdma_stack.peer_memory(tree, driver["modules"], running),
        "management": management_interface.survey(tree, pid),
    }


def _drained(tree: Root) -> list[str]:
    note = drained.noted(tree)
    return note["triggers"] + note["services"]


def _states(tree: Root, run: Run) -> dict[str, dict[str, str]]:
    """Return {unit: {property: value}} of the driver's daemons, nothing asked where none is."""
    there = [
        unit for unit in _UNITS if any(tree.exists(f"{folder}/{unit}") for folder in _UNIT_FOLDERS)
    ]
    return systemd.show(there, ["LoadState", "ActiveState", "UnitFileState"], run)
