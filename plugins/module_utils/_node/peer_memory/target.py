# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of peer memory on one host: by which route, for which kernels, of which tag."""

from __future__ import annotations

from typing import NamedTuple

from ..facts_shape import Kernel, Surveyed
from ..kernel import kernels
from ..rdma import peer_route
from . import basis, nv_peer_mem
from .basis import Basis
from .wanted import Said, Tag


class Target(NamedTuple):
    """What is wanted on one host.

    :ivar route: one of peer_route.ROUTES, or 'none'.
    :ivar kernels: the rows of kernels.survey that a module is wanted for.
    :ivar basis: the driver and the RDMA stack that it is for.
    :ivar tags: the rows of nv_peer_mem's tags that can be taken, the first of which is.
    :ivar foretold: the releases of those kernels for which the run that is foretold brings an RDMA
        stack or a driver first, of which nothing can be seen yet.
    """

    route: str
    kernels: list[Kernel]
    basis: Basis
    tags: list[Tag]
    foretold: list[str]

    @property
    def is_built(self) -> bool:
        """Whether its module is one that is built here."""
        return self.route == nv_peer_mem.NAME

    @property
    def releases(self) -> list[str]:
        """The releases of the kernels."""
        return [row["release"] for row in self.kernels]


def target(
    wanted: Said,
    facts: Surveyed,
    drivers: dict[str, str],
    consent: list[str],
    check_mode: bool,
) -> Target:
    """Return the Target of a host.

    :param wanted: the wanted state.
    :param facts: of the host.
    :param drivers: {release: path of the driver's module for that kernel, '' for none}.
    :param consent: names of gpunode_consent.
    :param check_mode: whether a run is foretold that brings what else is wanted first.
    """
    peers, coming = facts["peer_memory"], wanted["rdma_stack"]
    found = basis.to_be(wanted, facts, consent) if check_mode else basis.of_host(facts)
    rows = _rows(wanted, facts, drivers, found.brings_driver)
    told = coming["client_ex"] if found.stack_comes else None
    return Target(
        peer_route.chosen(
            wanted["route"], bool(facts["rdma_devices"]), _abilities(wanted, facts, found)
        ),
        rows,
        found,
        peer_route.fitting(
            wanted["tag"], wanted["tags"], peers["client_ex"] if told is None else told
        ),
        [
            row["release"]
            for row in rows
            if check_mode and (found.comes or not drivers[row["release"]])
        ],
    )


def _abilities(wanted: Said, facts: Surveyed, found: basis.Basis) -> peer_route.Abilities:
    """Return the Abilities of a host with the driver and the stack that it is to have by then."""
    return peer_route.abilities(
        facts,
        found.stack,
        wanted["rdma_stack"]["of_archive"],
        found.driver,
        [row["release"] for row in kernels.in_service(facts["kernels"])],
        wanted["branches"],
        wanted["architectures"],
    )


def _rows(
    wanted: Said, facts: Surveyed, drivers: dict[str, str], brings_driver: bool
) -> list[Kernel]:
    """Return the rows of the kernels that have the driver, or get it first.

    One that has none yet, and nobody brings it here, gets it by a container when it boots.
    """
    rows = kernels.served(facts["kernels"])
    if brings_driver:
        leaves = wanted["nvidia_driver"]["leaves_headerless"]
        return [row for row in rows if drivers[row["release"]] or row["headers"] or not leaves]
    return [row for row in rows if drivers[row["release"]]] or rows
