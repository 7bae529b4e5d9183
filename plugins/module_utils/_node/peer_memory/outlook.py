# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel that runs has loaded when it is peer memory's turn.

Where a run is foretold, the driver and the RDMA stack that it brings first are in memory by then,
or wait for a reboot: decided by what decides it for them.
"""

from __future__ import annotations

from typing import NamedTuple

from ..facts_shape import Surveyed
from ..gpu import loaded_module
from ..rdma import openibd_restart
from .basis import Basis
from .wanted import Said


class Outlook(NamedTuple):
    """What is loaded.

    :ivar modules: those of peer memory; who exchanges what they stand on unloads them first.
    :ivar driver_runs: whether a driver is, and is the one on disk.
    :ivar stack_is_stale: whether an RDMA core is, and is not the one on disk.
    """

    modules: list[str]
    driver_runs: bool
    stack_is_stale: bool


def of_host(facts: Surveyed) -> Outlook:
    """Return what is loaded now.

    :param facts: those of gpu_host.survey, with the general ones.
    """
    loaded = facts["driver"]["loaded"]["version"]
    names = (facts["kernel"], "nvidia")
    rows = [row for row in facts["driver"]["modules"] if (row["kernel"], row["name"]) == names]
    is_it = not rows or rows[0]["version"] == loaded
    return Outlook(
        facts["peer_memory"]["loaded"], bool(loaded) and is_it, facts["rdma_stack"]["stale"]
    )


def to_be(
    wanted: Said,
    facts: Surveyed,
    basis: Basis,
    consent: list[str],
    drain: list[str],
) -> Outlook:
    """Return what is loaded once a run has brought what else is wanted of a host.

    :param wanted: the wanted state.
    :param facts: as they are now.
    :param basis: basis.to_be.
    :param consent: names of gpunode_consent.
    :param drain: units of gpunode_drain.
    """
    modules, driver_runs, is_stale = of_host(facts)
    if basis.brings_driver:
        is_it = loaded_module.is_loaded(facts, basis.driver.version, basis.driver.is_open)
        is_new = basis.driver_comes or not driver_runs
        reloads = is_new and not is_it and loaded_module.is_exchanged(facts, consent, drain)
        loads = not facts["driver"]["loaded"]["version"] and loaded_module.is_loadable(facts)
        driver_runs = is_it or reloads or loads if is_new else True
        modules = [] if reloads else modules
    if wanted["rdma_stack"]["kind"]:
        is_stale = openibd_restart.exchanges_loaded(
            facts, basis.stack_comes or is_stale, [], is_in_dkms=True
        )
        restarts = (
            is_stale
            and openibd_restart.CONSENT in consent
            and openibd_restart.is_the_way(basis.stack, facts, consent)
            and not wanted["rdma_stack"]["of_archive"]
        )
        modules, is_stale = ([], False) if restarts else (modules, is_stale)
    return Outlook(modules, driver_runs, is_stale)
