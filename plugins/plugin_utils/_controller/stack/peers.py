# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Peer memory as it is to be: its route, and the tag of nv_peer_mem."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import peer_route

from .driver_to_be import DriverToBe
from .host import Host
from .rdma import Rdma
from .stack_catalog import StackCatalog


class Peers:
    """How GPUs and RDMA devices are to work together on a host.

    :param wanted: what is wanted of it, None where it is not ours.
    :param driver: the one that is to be there.
    :param rdma: the RDMA stack that is to be there.
    :param known: the catalog.
    """

    def __init__(
        self, wanted: Any, host: Host, driver: DriverToBe, rdma: Rdma, known: StackCatalog
    ) -> None:
        self._wanted = wanted
        self._host = host
        self._driver = driver
        self._rdma = rdma
        self._known = known

    @cached_property
    def route(self) -> str:
        """How peer memory is to work: as said, or what this host can do best; '' if not ours."""
        if not self._wanted:
            return ""
        has_devices = bool(self._host.facts["rdma_devices"])
        return peer_route.chosen(self._wanted["route"], has_devices, self._abilities)

    def why_not(self, route: str) -> list[str]:
        """Return what keeps a route from working on this host; [] where nothing does."""
        return peer_route.why_not(route, self._abilities)

    @cached_property
    def _abilities(self) -> peer_route.Abilities:
        driver = self._driver
        return peer_route.abilities(
            self._host.facts,
            self._rdma.kind,
            self._rdma.of_archive,
            peer_route.Driver(driver.branch, driver.version, driver.module_type == "open"),
            [row["release"] for row in self._host.targets],
            self._known.routes,
            self._known.architectures,
        )

    @cached_property
    def tag(self) -> str:
        """The tag of nv_peer_mem: as said, else the newest that fits the RDMA stack."""
        if self._wanted["tag"]:
            return self._wanted["tag"]
        rows = peer_route.fitting("", self._known.tags.values(), self._has_client_ex)
        return rows[0]["tag"] if rows else ""

    def misfit(self, tag: str) -> bool:
        """Say whether a tag of nv_peer_mem is known not to build with the RDMA stack."""
        row = self._known.tags.get(tag)
        return row is not None and not peer_route.is_fit(row, self._has_client_ex)

    @cached_property
    def _has_client_ex(self) -> bool:
        """Whether the RDMA stack has what newer tags need; of one to come nothing may be known."""
        row, found = self._known.ofed(self._rdma.version), self._host.facts["peer_memory"]
        return row["peer_client_ex"] if row else found["client_ex"] or not found["headers"]
