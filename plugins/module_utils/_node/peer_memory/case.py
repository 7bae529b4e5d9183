# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of peer memory on a host and what was seen there, and what follows from both."""

from __future__ import annotations

import dataclasses
import functools
from functools import cached_property
from typing import Any

from ..component.bring import Node
from ..facts_shape import Module
from ..kernel import secure_boot
from ..rdma import peer_route
from ..refusal import Refusal
from . import boot, nv_peer_mem, sources
from .delivery import Delivery
from .observe import DELIVERIES, Kernel, Seen, modules_of
from .outlook import Outlook
from .target import Target
from .wanted import Said

_NAME = nv_peer_mem.NAME


@dataclasses.dataclass
class Case:
    """One host and what is wanted of it.

    :ivar target: what is wanted.
    :ivar seen: what is there.
    :ivar ways: {key of observe.DELIVERIES: the Delivery}, in that order.
    :ivar delivery: the key of the one that is wanted.
    :ivar outlook: what is loaded by then.
    """

    target: Target
    seen: Seen
    ways: dict[str, Delivery[Any]]
    delivery: str
    outlook: Outlook

    @property
    def way(self) -> Delivery[Any]:
        """The Delivery that is wanted, should the module be one that is built."""
        return self.ways[self.delivery]

    @property
    def others(self) -> list[Delivery[Any]]:
        """The Deliveries by which nothing is to be there."""
        return [way for key, way in self.ways.items() if key != self.delivery]

    def way_of(self, row: Module) -> Delivery[Any] | None:
        """Return the Delivery by which a module came, None where nobody answers for it.

        :param row: of installed_driver.modules.
        """
        return next((way for way in self.ways.values() if way.has_put(row)), None)

    @cached_property
    def unfit(self) -> list[str]:
        """The releases of the kernels whose nv_peer_mem is not as wanted, or would not load."""
        if not self.target.is_built:
            return []
        return [kernel.row["release"] for kernel in self.seen.kernels if not self._fits(kernel)]

    @cached_property
    def unowned(self) -> list[str]:
        """The paths of modules nv_peer_mem that are not to be there, and came by no known way."""
        if self.target.is_built:
            return []
        rows = [row for row in self.seen.facts["driver"]["modules"] if row["name"] == _NAME]
        return [row["path"] for row in rows if not self.way_of(row)]

    def _fits(self, kernel: Kernel) -> bool:
        release, facts = kernel.row["release"], self.seen.facts
        rows = modules_of(facts, _NAME, release)
        rows = [row for row in rows if self.way_of(row) is self.way]
        if not (self.way.has(release) and rows):
            return False
        row = rows[0]
        is_signed = bool(row["signer"]) or not secure_boot.needs_signature(facts["secure_boot"])
        is_tag = row["version"] == self.way.order.tag
        return is_tag and is_signed and self._is_for_basis(kernel, row["path"])

    def _is_for_basis(self, kernel: Kernel, path: str) -> bool:
        """Say whether a module is for the driver and the RDMA stack that there are, or will be.

        Of those that come first the names alone are known, and what was built for them fits.
        """
        noted, called = boot.noted(self.seen.there), self.target.basis.called
        if kernel.row["release"] in self.target.foretold:
            return noted == called
        # Where nobody noted it, the symbols have to tell.
        return noted in ("", called) and kernel.misfits[path] is None


def case(wanted: Said, target: Target, seen: Seen, outlook: Outlook, node: Node) -> Case:
    """Return the Case of a host.

    :param wanted: the wanted state.
    :param node: what is built is built there.
    :raises Refusal: there is no archive of the tag that is wanted, or not all that a build needs.
    """
    order = _order(wanted, target, seen, node) if target.is_built else nv_peer_mem.NO_ORDER
    ways = {
        key: kind(
            order if key == wanted["delivery"] else nv_peer_mem.NO_ORDER,
            node,
            seen.delivered[key],
        )
        for key, kind in DELIVERIES.items()
    }
    return Case(target, seen, ways, wanted["delivery"], outlook)


def had(found: Any) -> Any:
    """Return what was seen.

    :raises Refusal: it stands in the place of what is not there.
    """
    if isinstance(found, Refusal):
        raise found
    return found


def _order(wanted: Said, target: Target, seen: Seen, node: Node) -> nv_peer_mem.Order:
    tag = target.tags[0]["tag"] if target.tags else wanted["tag"]
    peer_route.refuse_without_archive(tag, target.tags)
    row, patches = target.tags[0], wanted["patches"]
    return nv_peer_mem.Order(
        tag=tag,
        made_from=sources.made_from(row["sha256"], patches),
        patches=patches,
        driver=target.basis.driver.version,
        releases=target.releases,
        # Of what is foretold they are not known yet.
        inputs=[
            had(kernel.inputs)
            for kernel in seen.kernels
            if kernel.row["release"] not in target.foretold
        ],
        unpack=functools.partial(sources.make, row, patches, node.sent),
    )
