# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The RDMA stack that is to be there, held against the one that is."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import (
    ofed_release,
    openibd_restart,
)

from .host import Host
from .stack_catalog import StackCatalog


class Rdma:
    """The RDMA stack as it is wanted; where none is, the one that stays.

    :param ofed: what is wanted of it, None where it is not ours.
    :param consent: what was consented to.
    :param known: the catalog.
    """

    def __init__(
        self, ofed: Any, consent: Collection[str], host: Host, known: StackCatalog
    ) -> None:
        self._ofed = ofed
        self._consent = consent
        self._host = host
        self._facts = host.facts
        self._known = known

    @cached_property
    def kind(self) -> str:
        """The RDMA stack that will be there: as wanted, else as it is."""
        return self._ofed["kind"] if self._ofed else self._facts["rdma_stack"]["kind"]

    @cached_property
    def version(self) -> str:
        """Its version, '' for the distribution's own."""
        return self._ofed["version"] if self._ofed else self._facts["rdma_stack"]["version"]

    @cached_property
    def file(self) -> tuple[str, str]:
        """(bundle, sha256) of MLNX_OFED: as said, else as published for this distribution."""
        if self._ofed["file"]:
            return self._ofed["file"], self._ofed["sha256"]
        row = self._known.ofed(self._ofed["version"])
        # The row of another release speaks for its series alone.
        is_it = row and row["version"] == self._ofed["version"]
        return ofed_release.bundle(row if is_it else None, self._facts)

    @cached_property
    def wants_vendors(self) -> bool:
        """Whether a vendor's RDMA stack is wanted, whose modules are built on the host."""
        return bool(self._ofed and self._ofed["kind"] != "inbox")

    @property
    def of_archive(self) -> bool:
        """Whether DOCA-OFED of the distribution's archive is wanted, without openibd or symbols."""
        return bool(self._ofed and self._ofed.get("of_archive"))

    @cached_property
    def is_there(self) -> bool:
        """Whether a vendor's RDMA stack is wanted, and there in the version that is wanted."""
        if not self.wants_vendors:
            return False
        release = self._known.doca(self._ofed["version"]).get("doca", "")
        return ofed_release.is_there(self._ofed, release, self._facts)

    @cached_property
    def lacking(self) -> list[facts_shape.Kernel]:
        """The kernels that modules of that stack can be built for, and that have none of it."""
        there = self._facts["rdma_stack"]["kernels"]
        rows = ofed_release.kernels(self._host.kernels, self.is_in_dkms) if self.is_there else []
        return [row for row in rows if row["headers"] and row["release"] not in there]

    @cached_property
    def is_in_dkms(self) -> bool:
        """Whether DKMS has the RDMA stack's modules, and builds them for any kernel."""
        return ofed_release.is_in_dkms(self._facts["driver"]["dkms"])

    @cached_property
    def restarts_openibd(self) -> bool:
        """Whether openibd exchanges the RDMA modules that are loaded; else a reboot does.

        Consent to it may be lacking still: the node does it with that alone, and refuses where a
        module that it sees by then stands in the way.
        """
        is_the_way = openibd_restart.is_the_way(self.kind, self._facts, self._consent)
        return is_the_way and not self.of_archive

    @cached_property
    def under_connection(self) -> list[str]:
        """The interfaces of RDMA devices that carry the connection to the host; [] for none."""
        return openibd_restart.under_connection(self._facts)
