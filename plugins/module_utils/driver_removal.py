# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host without the NVIDIA driver, whichever way it came there, and without all that is ours."""

from __future__ import annotations

from ansible_collections.gpunode.stack.plugins.module_utils import (
    driver_by_packages,
    driver_by_runfile,
    driver_drain,
    driver_services,
    driver_settings,
    gpu_clients,
    placed,
    systemd,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal


def converge(host, repositories, check_mode):
    """Remove the driver; return the module's result.

    A module that is loaded stays so until the host is rebooted.

    :param host: the stack_host.Host.
    :param repositories: {name: row} of the catalog.
    :raises Refusal: somebody uses the GPUs, or the removal failed.
    """
    facts = host.facts()
    clients = gpu_clients.at_work(facts["gpu_clients"])
    if clients:
        raise Refusal(
            "GPU in use",
            "; ".join(map(gpu_clients.described, clients)),
            "Stop them for good: they cannot run without the driver",
        )
    # Before a daemon is ended or anything that is kept goes.
    driver_by_packages.check_removal(facts, host, repositories)
    steps = [
        *driver_services.removal_steps(host.run),
        *driver_by_runfile.removal_steps(facts, host),
        *driver_by_packages.removal_steps(facts, host, repositories),
        *_settings(),
    ]
    if not check_mode:
        try:
            for _says, act in steps:
                act()
        except systemd.UnitError as error:
            raise Refusal(
                "a unit of the driver", str(error), "Look at its log, and run again"
            ) from error
    return {
        "changed": bool(steps),
        "changes": [says for says, _act in steps],
        "diff": [],
        "manifest": [],
    }


def _settings():
    """Return the steps that remove our settings; the files of the methods go with them."""
    # Who was stopped for a driver has none to run with.
    paths = (*driver_settings.PATHS, driver_drain.note_path())
    return placed.steps({path: placed.of(None) for path in paths})
