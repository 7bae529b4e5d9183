# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of the RDMA stack and of the ports of its devices."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from . import driver, looks
from .check import CRITICAL, ERROR, WARNING, Check, Found, Host

_COMPONENT = "mlnx_ofed"
_IN_STACK = looks.is_in_stack(_COMPONENT)
_OF_OTHERS = {*looks.OF_UNITS, "package", "receipt"}
_FILES = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind not in _OF_OTHERS)
# linux, drivers/infiniband/core/sysfs.c, state_show: the port has a link, and nobody has given it
# its addresses.
_UNCONFIGURED = ("INIT", "ARMED")
_ACTIVE = "ACTIVE"
_SOURCE = "InfiniBand Architecture Specification, states of a port"


def _ports(host: Host) -> list[tuple[str, facts_shape.RdmaPort]]:
    """Return (name, port) of each port of the host's RDMA devices."""
    return [
        (f"{device['name']} port {port['port']}", port)
        for device in host.facts["rdma_devices"]
        for port in device["ports"]
    ]


def _without_link(host: Host) -> Iterator[Found]:
    """Yield ports that wait for a subnet manager, and all of them where none is active."""
    ports = _ports(host)
    is_cut_off = bool(ports) and all(port["state"] != _ACTIVE for _name, port in ports)
    for name, port in ports:
        if port["state"] in _UNCONFIGURED:
            yield Found(
                f"{name} is {port['state']}",
                "It has a link, and no subnet manager has set it up: see whether one runs",
            )
        elif is_cut_off:
            yield Found(f"{name} is {port['state']}, and no other port is {_ACTIVE}")


def _partly_linked(host: Host) -> Iterator[Found]:
    ports = _ports(host)
    if any(port["state"] == _ACTIVE for _name, port in ports):
        for name, port in ports:
            if port["state"] not in (_ACTIVE, *_UNCONFIGURED):
                yield Found(f"{name} is {port['state']}")


def _has_use(host: Host) -> bool:
    """Say whether RDMA is wanted on a host that has devices for it."""
    has_wish = host.case.ofed is not None or bool(host.case.peers.route)
    return has_wish and bool(host.facts["rdma_devices"])


CHECKS = (
    looks.brought("rdma", _COMPONENT, "The RDMA stack"),
    Check(
        "rdma.version",
        "The RDMA stack that is wanted is installed, and no other.",
        CRITICAL,
        "converge",
        "Run {site}; {plan} says what that interrupts",
        (looks.Rule(_COMPONENT, ("not-installed", "other-version")),),
        _IN_STACK,
    ),
    Check(
        "rdma.modules",
        "Each kernel that the host runs or will run has the stack's modules.",
        ERROR,
        "converge",
        "Run {site}",
        (looks.Rule(_COMPONENT, ("kernel-without-module",)),),
        _IN_STACK,
    ),
    Check(
        "rdma.loaded",
        "The stack's modules are loaded, as they are on disk.",
        CRITICAL,
        "converge",
        "Run {site}; {plan} says what that interrupts",
        (looks.Rule(_COMPONENT, ("not-loaded", "other-loaded"), looks.without_kernel),),
        _IN_STACK,
        looks.ON_ITS_KERNEL,
    ),
    Check(
        "rdma.ports",
        "A port of an RDMA device is active, and none waits for a subnet manager.",
        CRITICAL,
        "none",
        "See to the cable, the switch and the subnet manager; ibstat and rdma link show the port",
        (looks.Seen(_without_link, looks.without_kernel),),
        _has_use,
        looks.ON_ITS_KERNEL,
        _SOURCE,
    ),
    Check(
        "rdma.all_ports",
        "Every port of the RDMA devices is active.",
        WARNING,
        "none",
        "See to the cable and the switch; where nothing is to be plugged in, waive it",
        (looks.Seen(_partly_linked, looks.without_kernel),),
        _has_use,
        looks.ON_ITS_KERNEL,
        _SOURCE,
    ),
    *looks.units("rdma", _COMPONENT, "the RDMA stack"),
    looks.drifted(
        "rdma.packages",
        _COMPONENT,
        "The stack's packages are those that were installed, in their versions.",
        "package",
        remedy="Run {site}",
    ),
    looks.drifted(
        "rdma.pins",
        _COMPONENT,
        "What holds the stack's packages at their versions is as it was left.",
        *_FILES,
        paths=driver.PINS,
    ),
    looks.drifted(
        "rdma.files",
        _COMPONENT,
        "The stack's modules and files are as they were left.",
        *_FILES,
        but=driver.PINS,
    ),
)
