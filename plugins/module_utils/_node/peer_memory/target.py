# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of peer memory on one host: by which route, for which kernels, of which tag."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..kernel import kernels
from ..packages import versions
from ..rdma import peer_route
from . import nv_peer_mem

# No RDMA stack that comes first.
_NOTHING: dict[str, Any] = {"kind": "", "client_ex": None}


class Target(NamedTuple):
    """What is wanted on one host.

    :ivar route: one of peer_route.ROUTES, or 'none'.
    :ivar kernels: the rows of kernels.survey that a module is wanted for.
    :ivar driver: the version of the driver.
    :ivar tags: the rows of nv_peer_mem's tags that can be taken, the first of which is.
    :ivar is_foretold: whether the run that is foretold brings an RDMA stack or a driver first, of
        which nothing can be seen yet.
    """

    route: str
    kernels: list[dict[str, Any]]
    driver: str
    tags: list[dict[str, Any]]
    is_foretold: bool

    @property
    def is_built(self) -> bool:
        """Whether its module is one that is built here."""
        return self.route == nv_peer_mem.NAME

    @property
    def releases(self) -> list[str]:
        """The releases of the kernels."""
        return [row["release"] for row in self.kernels]


def target(
    wanted: dict[str, Any], facts: dict[str, Any], drivers: dict[str, str], check_mode: bool
) -> Target:
    """Return the Target of a host.

    :param wanted: the state of plugin_utils/_controller/components/peer_memory.py.
    :param facts: of the host.
    :param drivers: {release: path of the driver's module for that kernel, '' for none}.
    :param check_mode: whether a run is foretold that brings what else is wanted first.
    """
    coming = wanted["rdma_stack"] if check_mode else _NOTHING
    peers, modules = facts["peer_memory"], facts["driver"]["modules"]
    rows = kernels.served(facts["kernels"])
    # Those that have the driver; one that has none yet gets it first, be it by a container when it
    # boots.
    rows = [row for row in rows if drivers[row["release"]]] or rows
    lacks_driver = not any(drivers[row["release"]] for row in rows)
    lacks_stack = coming["kind"] not in ("", "inbox") and not peers["headers"]
    found = [row for row in modules if row["name"] == "nvidia"]
    version = found[0]["version"] if found else facts["driver"]["loaded"]["version"]
    can = peer_route.abilities(
        facts,
        coming["kind"] or facts["rdma_stack"]["kind"],
        peer_route.Driver(versions.branch(version), version, any(row["open"] for row in found)),
        [row["release"] for row in kernels.in_service(facts["kernels"])],
        wanted["branches"],
        wanted["architectures"],
    )
    told = coming["client_ex"]
    return Target(
        peer_route.chosen(wanted["route"], bool(facts["rdma_devices"]), can),
        rows,
        version,
        peer_route.fitting(
            wanted["tag"], wanted["tags"], peers["client_ex"] if told is None else told
        ),
        check_mode and (lacks_stack or lacks_driver),
    )
