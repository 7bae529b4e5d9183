# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host and what is wanted of it, and all that follows from the two together.

The rules of the planner ask here; nothing is decided twice.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import loaded_module

from ..inputs.wanted_stack import Stack
from .driver_there import DriverThere
from .driver_to_be import DriverToBe
from .host import Host
from .peers import Peers
from .rdma import Rdma
from .stack_catalog import StackCatalog

# What a host tells of itself where it tells nothing: facts of an older version lack keys.
EMPTY = facts_shape.empty(facts_shape.Facts)


def completed(facts: Mapping[str, Any], empty: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return facts with each key that is missing, or of another type, as if nothing were there."""
    empty = EMPTY if empty is None else empty
    found = dict(facts)
    for key, default in empty.items():
        if not isinstance(facts.get(key), type(default)):
            found[key] = copy.deepcopy(default)
        elif isinstance(default, dict):
            found[key] = completed(facts[key], default)
    return found


class Case:
    """A host's facts and its wanted stack.

    ``driver``, ``vgpu``, ``peer_memory`` and ``ofed`` are what is wanted, None where a part is not
    ours; who asks what is wanted of it has seen to that before. What follows from that and the
    facts is asked of ``host``, ``driver_there``, ``driver_to_be``, ``rdma`` and ``peers``.

    :param wanted: the wanted stack.
    :param facts: of node_info.
    :param known: the StackCatalog.
    :param cuda_builds: [{by, cuda, pytorch}]: what environments were built for, '' where not told.
    :param today: the date as 'YYYY-MM', against which ends of life are held.
    """

    def __init__(
        self,
        wanted: Stack,
        facts: Mapping[str, Any],
        known: StackCatalog,
        cuda_builds: Sequence[Mapping[str, str]],
        today: str,
    ) -> None:
        self.wanted = wanted
        self.facts = cast(facts_shape.Facts, completed(facts))
        self.known = known
        self.cuda_builds = cuda_builds
        self.today = today
        self.host = Host(self.facts, known)
        # A host without a GPU needs no driver; an image is for hosts that will have one.
        has_use = bool(self.host.own_gpus) or not self.facts["own_kernel"]
        self.driver: Any = wanted["driver"] if has_use else None
        self.vgpu: Any = wanted["vgpu"] if has_use else None
        self.peer_memory: Any = wanted["peer_memory"] if has_use else None
        self.ofed: Any = wanted["ofed"]
        self.consent = wanted["consent"]
        self.drain = wanted["drain"]
        self.driver_there = DriverThere(self.host)
        self.driver_to_be = DriverToBe(
            self.driver, bool(self.vgpu), self.host, self.driver_there, known
        )
        self.rdma = Rdma(self.ofed, self.consent, self.host, known)
        self.peers = Peers(self.peer_memory, self.host, self.driver_to_be, self.rdma, known)

    @cached_property
    def may_reload(self) -> bool:
        """Whether a loaded module is exchanged in memory, with whoever uses it stopped."""
        return loaded_module.is_exchanged(self.facts, self.consent, self.drain)

    @cached_property
    def held(self) -> str:
        """What keeps a loaded module from the exchange in memory that was asked for; '' if nothing.

        Then it is left to a reboot.
        """
        if not loaded_module.may_exchange(self.facts, self.consent):
            return ""
        return loaded_module.what_holds(self.facts, self.drain)
