# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of peer memory, seen once before it is planned."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from .. import facts_shape
from ..component.bring import Node
from ..kernel import kernels
from ..packages import database, stack_packages
from ..rdma import peer_route, symbols
from ..refusal import Refusal
from ..system import text_files
from ..system.root import Root
from . import boot, by_dkms, by_rpm, fit, nv_peer_mem
from .delivery import Delivery
from .target import Target
from .wanted import DriverParts, Said

#: What nv_peer_mem comes by; who knows best which modules are its own comes first.
DELIVERIES: dict[str, type[Delivery[Any]]] = {"rpm": by_rpm.ByRpm, "dkms": by_dkms.ByDkms}


class Kernel(NamedTuple):
    """What there is for a kernel that the route's module is wanted for.

    In place of what is not there stands the Refusal that says so: whether it matters is planned.

    :ivar row: of kernels.survey.
    :ivar driver: the path of the driver's module, '' for none.
    :ivar ofed: the folder with the RDMA stack's symbols.
    :ivar has_client_ex: whether its header has struct peer_memory_client_ex.
    :ivar inputs: what nv_peer_mem would be built with; None where it is not to be.
    :ivar misfits: {path of a module of the route: the Refusal that says why it would not load, None
        where it would}.
    """

    row: facts_shape.Kernel
    driver: str
    ofed: str | Refusal
    has_client_ex: bool
    inputs: nv_peer_mem.BuildInputs | Refusal | None
    misfits: dict[str, Refusal | None]


class Seen(NamedTuple):
    """What was found on a host.

    :ivar facts: the general facts, and those of GPUs, drivers and RDMA.
    :ivar kernels: the kernels of the target; [] where its route takes no module.
    :ivar delivered: {key of DELIVERIES: what it observed}.
    :ivar packaged: the paths of modules that came by none of these, and that a package has placed;
        [] where modules are to be there.
    :ivar lacking: the names of the packages that a build needs and the host lacks.
    :ivar at_boot: what others have loaded at boot.
    :ivar there: {path: text_files.OnDisk} of all files that may be changed.
    """

    facts: facts_shape.Surveyed
    kernels: list[Kernel]
    delivered: dict[str, Any]
    packaged: list[str]
    lacking: list[str]
    at_boot: boot.AtBoot
    there: dict[str, text_files.OnDisk]


def drivers(tree: Root, facts: facts_shape.Surveyed, said: str) -> dict[str, str]:
    """Return {release: path of the driver's module for that kernel, '' for none}.

    :param tree: the host.
    :param said: the path that an option names, '' for none.
    """
    modules = facts["driver"]["modules"]
    found = {}
    for row in kernels.served(facts["kernels"]):
        path = _or_refusal(nv_peer_mem.driver_module, tree, row["release"], modules, said)
        found[row["release"]] = "" if isinstance(path, Refusal) else path
    return found


def observe(node: Node, facts: facts_shape.Surveyed, target: Target, wanted: Said) -> Seen:
    """Return what a host has, as far as the target's route makes it matter.

    Drivers are large, and read only where a module is held against them.

    :param facts: of the host.
    :param wanted: the wanted state.
    """
    delivered = {key: kind.observe(node.tree, facts) for key, kind in DELIVERIES.items()}
    tools = DELIVERIES[wanted["delivery"]].packages(facts["pkg_mgr"]) if target.is_built else []
    rows = target.kernels if target.route in peer_route.MODULES else []
    at_boot = boot.observe(node.tree)
    return Seen(
        facts,
        [_kernel(node.tree, row, target, facts, wanted["driver"]) for row in rows],
        delivered,
        [] if target.is_built else _packaged(node, facts, delivered),
        database.missing(tools, node.run),
        at_boot,
        text_files.look([*boot.places(at_boot), nv_peer_mem.CONF]),
    )


def modules_of(facts: facts_shape.Surveyed, name: str, release: str) -> list[facts_shape.Module]:
    """Return the rows of a module on disk for one kernel."""
    rows = facts["driver"]["modules"]
    return [row for row in rows if (row["name"], row["kernel"]) == (name, release)]


def _kernel(
    tree: Root,
    row: facts_shape.Kernel,
    target: Target,
    facts: facts_shape.Surveyed,
    said: DriverParts,
) -> Kernel:
    release, modules = row["release"], facts["driver"]["modules"]
    driver = _or_refusal(nv_peer_mem.driver_module, tree, release, modules, said["module"])
    driver = "" if isinstance(driver, Refusal) else driver
    ofed = _or_refusal(symbols.folder_of, tree, release)
    paths = [found["path"] for found in modules_of(facts, target.route, release)]
    against = _or_refusal(fit.against, tree, release, driver) if paths else None
    return Kernel(
        row,
        driver,
        ofed,
        not isinstance(ofed, Refusal) and symbols.has_client_ex(tree, ofed),
        _or_refusal(nv_peer_mem.build_inputs, tree, release, modules, said)
        if target.is_built
        else None,
        {path: _misfit(tree, path, target.route, against) for path in paths},
    )


def _misfit(tree: Root, path: str, name: str, against: Any) -> Refusal | None:
    """Return the Refusal that says why a module would not load, None where it would.

    :param against: the fit.Against, or the Refusal in its place.
    """
    if isinstance(against, Refusal):
        return against
    refusal: Refusal | None = _or_refusal(fit.hold, tree, path, name, against)
    return refusal


def _packaged(node: Node, facts: facts_shape.Surveyed, delivered: dict[str, Any]) -> list[str]:
    ways = [kind(nv_peer_mem.NO_ORDER, node, delivered[key]) for key, kind in DELIVERIES.items()]
    paths = [
        row["path"]
        for row in facts["driver"]["modules"]
        if row["name"] == nv_peer_mem.NAME and not any(way.has_put(row) for way in ways)
    ]
    return [path for path in paths if stack_packages.owns(node.tree, path)]


def _or_refusal(look: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, or the Refusal that it raises."""
    try:
        return look(*arguments)
    except Refusal as refusal:
        return refusal
