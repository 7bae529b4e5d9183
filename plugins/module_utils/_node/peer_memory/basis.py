# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What peer memory stands on: the driver and the RDMA stack that are there when it is its turn.

A run that is foretold brings those that are wanted first. Nothing can be seen of them yet, so what
is built of them is told by their versions: nv_peer_mem is built anew for each.
"""

from __future__ import annotations

from typing import NamedTuple

from ..facts_shape import Surveyed
from ..gpu import clients, installed_driver, module_types
from ..packages import versions
from ..rdma import ofed_release, openibd_restart, peer_route
from .wanted import NvidiaDriver, RdmaStack, Said


class Basis(NamedTuple):
    """The driver and the RDMA stack that peer memory is to work with.

    :ivar driver: the peer_route.Driver.
    :ivar stack: the kind of the RDMA stack.
    :ivar stack_version: its version, or as much of it as is said.
    :ivar called: both in words that tell them from any others; of what takes the run to know, such
        as the newest version of a branch, in words that nothing there is called by.
    :ivar brings_driver: whether a run that is foretold looks after the driver first.
    :ivar driver_comes: whether it exchanges it for another one.
    :ivar stack_comes: whether it exchanges the RDMA stack.
    """

    driver: peer_route.Driver
    stack: str
    stack_version: str
    called: str
    brings_driver: bool
    driver_comes: bool
    stack_comes: bool

    @property
    def comes(self) -> bool:
        """Whether what is on the host now says nothing of what a module is to fit."""
        return self.driver_comes or self.stack_comes


class _Driver(NamedTuple):
    """A driver, and its name in words."""

    route: peer_route.Driver
    called: str


class _Stack(NamedTuple):
    """The kind and version of an RDMA stack, and its name in words."""

    kind: str
    version: str
    called: str


def of_host(facts: Surveyed) -> Basis:
    """Return the Basis that a host has.

    :param facts: those of gpu_host.survey, with the general ones.
    """
    return _basis(_driver_there(facts), _stack_there(facts))


def to_be(wanted: Said, facts: Surveyed, consent: list[str]) -> Basis:
    """Return the Basis that a host has once a run has brought what else is wanted of it.

    What waits for a consent is not brought.

    :param wanted: the wanted state.
    :param facts: as they are now.
    :param consent: names of gpunode_consent.
    """
    driver, stack = _driver_there(facts), _stack_there(facts)
    drivers, stacks = wanted["nvidia_driver"], wanted["rdma_stack"]
    differs = bool(drivers) and not _is_there(drivers, wanted, facts)
    brings_driver = bool(drivers) and not (differs and _waits(drivers, facts, consent))
    driver_comes = differs and brings_driver
    stack_comes = (
        bool(stacks["kind"])
        and not _is_stack_there(stacks, facts)
        and not _stack_waits(stacks, facts, consent)
    )
    return _basis(
        _driver_to_be(drivers, wanted, facts) if driver_comes else driver,
        _stack_to_be(stacks) if stack_comes else stack,
        brings_driver,
        driver_comes,
        stack_comes,
    )


def _basis(
    driver: _Driver,
    stack: _Stack,
    brings_driver: bool = False,
    driver_comes: bool = False,
    stack_comes: bool = False,
) -> Basis:
    called = f"driver {driver.called}, RDMA stack {stack.called}"
    comes = (brings_driver, driver_comes, stack_comes)
    return Basis(driver.route, stack.kind, stack.version, called, *comes)


def _driver_there(facts: Surveyed) -> _Driver:
    """Return the driver on disk; one that lies elsewhere, as a container's, is told by no version.

    What is loaded of that is no sooner known than it is loaded.
    """
    rows = list(installed_driver.main_modules(facts).values())
    kinds = sorted({_called(row["version"], row["open"]) for row in rows})
    version = rows[0]["version"] if rows else facts["driver"]["loaded"]["version"]
    is_open = any(row["open"] for row in rows)
    called = f"{' and '.join(kinds)} by {_method(facts)}" if kinds else "that others bring"
    return _Driver(peer_route.Driver(versions.branch(version), version, is_open), called)


def _is_there(said: NvidiaDriver, wanted: Said, facts: Surveyed) -> bool:
    """Say whether the driver that is wanted is on disk, for every kernel that has one.

    Of packages any version of the branch is it: what is there is held.
    """
    rows = installed_driver.main_modules(facts).values()
    is_open = _is_open(said, wanted, facts)
    return (
        _method(facts) == said["method"]
        and bool(rows)
        and len({row["version"] for row in rows}) == 1
        and all(
            row["open"] == is_open
            and said["version"] in ("", row["version"])
            and said["branch"] == versions.branch(row["version"])
            for row in rows
        )
    )


def _waits(said: NvidiaDriver, facts: Surveyed, consent: list[str]) -> bool:
    """Say whether the driver is not exchanged before somebody consents to it."""
    is_there = bool(installed_driver.main_modules(facts))
    changes_method = is_there and _method(facts) != said["method"]
    interrupts = bool(clients.at_work(facts["gpu_clients"]))
    return (changes_method and "change_method" not in consent) or (
        interrupts and "stop_gpu_clients" not in consent
    )


def _driver_to_be(said: NvidiaDriver, wanted: Said, facts: Surveyed) -> _Driver:
    version, is_open = said["version"] or said["branch"], _is_open(said, wanted, facts)
    route = peer_route.Driver(said["branch"], version, is_open)
    return _Driver(route, f"{_called(version, is_open)} by {said['method']}")


def _is_open(said: NvidiaDriver, wanted: Said, facts: Surveyed) -> bool:
    named = (said["modules"], wanted["architectures"], said["guest"], said["offered"])
    return module_types.of_host(facts, *named, said["branch"]) == "open"


def _called(version: str, is_open: bool) -> str:
    return f"{version} {'open' if is_open else 'proprietary'}"


def _method(facts: Surveyed) -> str:
    """Return how the driver came, as it is said where one is wanted."""
    return "runfile" if facts["driver"]["runfile"] else "package"


def _stack_there(facts: Surveyed) -> _Stack:
    return _named(facts["rdma_stack"]["kind"], facts["rdma_stack"]["version"])


def _is_stack_there(said: RdmaStack, facts: Surveyed) -> bool:
    """Say whether the RDMA stack that is wanted is there, with what modules are built with."""
    if said["kind"] == "inbox":
        return bool(facts["rdma_stack"]["kind"] == "inbox")
    is_it = ofed_release.is_there(said, said["release"], facts)
    return is_it and bool(said["of_archive"] or facts["peer_memory"]["headers"])


def _stack_waits(said: RdmaStack, facts: Surveyed, consent: list[str]) -> bool:
    """Say whether the RDMA stack is not exchanged before somebody consents to it."""
    exchanges = openibd_restart.exchanges_loaded(facts, True, [], is_in_dkms=True)
    is_the_way = openibd_restart.is_the_way(said["kind"], facts, consent)
    restarts = is_the_way and not said["of_archive"]
    return exchanges and restarts and openibd_restart.CONSENT not in consent


def _stack_to_be(said: RdmaStack) -> _Stack:
    return _named(said["kind"], said["version"])


def _named(kind: str, version: str) -> _Stack:
    return _Stack(kind, version, f"{kind} {version}".rstrip())
