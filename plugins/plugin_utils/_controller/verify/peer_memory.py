# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of peer memory: how RDMA devices reach the memory of GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import peer_route

from . import looks
from .check import CRITICAL, ERROR, Check, Found, Host

_COMPONENT = "peer_memory"
_IN_STACK = looks.is_in_stack(_COMPONENT)
_FILES = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind != "receipt")


def _has_module(host: Host) -> bool:
    return _IN_STACK(host) and host.case.peers.route in peer_route.MODULES


def _unregistered(host: Host) -> Iterator[Found]:
    """Yield that the module is loaded and the RDMA core knows of no client."""
    found, route = host.facts["peer_memory"], host.case.peers.route
    if route in found["loaded"] and not found["clients"]:
        yield Found(f"{route} is loaded, and has not registered with the RDMA core", of=route)


CHECKS = (
    looks.brought("peer_memory", _COMPONENT, "Peer memory"),
    Check(
        "peer_memory.module",
        "Each kernel that is to have it has the module of the route, in the wanted release.",
        ERROR,
        "converge",
        "Run {site}",
        (looks.Rule(_COMPONENT, ("not-installed", "other-version")),),
        _IN_STACK,
    ),
    Check(
        "peer_memory.route",
        "No module of another route is loaded, or would be at boot.",
        ERROR,
        "converge",
        "Run {site}",
        (looks.Rule(_COMPONENT, ("other-route", "two-peer-modules")),),
        _IN_STACK,
    ),
    Check(
        "peer_memory.boot",
        "The module of the route is loaded at boot.",
        ERROR,
        "converge",
        "Run {site}",
        (looks.Rule(_COMPONENT, ("not-loaded-at-boot",)),),
        _IN_STACK,
    ),
    Check(
        "peer_memory.loaded",
        "The module of the route is loaded, as it is on disk.",
        CRITICAL,
        "converge",
        "Run {site}; journalctl --dmesg says what kept it",
        (looks.Rule(_COMPONENT, ("not-loaded", "other-loaded"), looks.without_kernel),),
        _IN_STACK,
        looks.ON_ITS_KERNEL,
    ),
    Check(
        "peer_memory.registered",
        "The module of the route has registered with the RDMA core.",
        CRITICAL,
        "converge",
        "Run modprobe --remove {of}, then modprobe {of}, and read journalctl --dmesg; where it was "
        "built with another RDMA stack, run {site}",
        (looks.Seen(_unregistered, looks.without_kernel),),
        _has_module,
        looks.ON_ITS_KERNEL,
        "MLNX_OFED and DOCA-OFED, drivers/infiniband/core/peer_mem.c: /sys/kernel/mm/memory_peers",
    ),
    looks.drifted(
        "peer_memory.files",
        _COMPONENT,
        "What was placed for peer memory is as it was left.",
        *_FILES,
    ),
)
