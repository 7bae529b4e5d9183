# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host without the NVIDIA driver, whichever way it came there, and without all that is ours."""

from __future__ import annotations

from ..gpu import clients as gpu_clients
from ..gpu import drained
from ..refusal import Refusal
from ..steps import Result
from ..system import systemd, text_files
from . import by_packages, by_runfile, modprobe_conf, services


def converge(host, repositories, check_mode):
    """Remove the driver; return the steps.Result.

    A module that is loaded stays so until the host is rebooted.

    :param host: the bring.Host.
    :param repositories: {name: row} of the catalog.
    :raises Refusal: somebody uses the GPUs, or the removal failed.
    """
    facts = host.survey()
    clients = gpu_clients.at_work(facts["gpu_clients"])
    if clients:
        raise Refusal(
            "GPU in use",
            "; ".join(map(gpu_clients.described, clients)),
            "Stop them for good: they cannot run without the driver",
        )
    # Before a daemon is ended or anything that is kept goes.
    by_packages.check_removal(facts, host, repositories)
    steps = [
        *services.removal_steps(host.run),
        *by_runfile.removal_steps(facts, host),
        *by_packages.removal_steps(facts, host, repositories),
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
    return Result([says for says, _act in steps])


def _settings():
    """Return the steps that remove our settings; the files of the methods go with them."""
    # Who was stopped for a driver has none to run with.
    paths = (*modprobe_conf.PATHS, drained.note_path())
    return text_files.settling({path: text_files.of(None) for path in paths})
