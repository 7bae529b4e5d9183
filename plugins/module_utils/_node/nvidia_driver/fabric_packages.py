# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fabric Manager beside the driver of a .run, which brings none: by a package, and held there."""

from __future__ import annotations

import functools
from typing import NamedTuple

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..gpu import fabric_manager
from ..packages import package_manager, repositories
from ..refusal import Refusal
from ..steps import Step
from ..system import text_files
from . import package_choice, package_family, package_sets, pins
from .wanted import Present


class Seen(NamedTuple):
    """What there is to do about it.

    :ivar choice: what has to be installed, None for nothing.
    :ivar obstacle: why that cannot be had, None where it can.
    :ivar files: {path: TextFile} of what is to hold it, and of what may have held others.
    :ivar there: {path: OnDisk} of these.
    """

    choice: package_choice.Choice | None
    obstacle: Refusal | None
    files: dict[str, text_files.TextFile]
    there: dict[str, text_files.OnDisk]


def observe(wanted: Present, facts: Surveyed, there: dict[str, str], node: Node) -> Seen:
    """Return what there is to do on a host.

    :param wanted: the wanted state.
    :param facts: what was seen of the host.
    :param there: {name: version} of the driver's packages, which give way but for its own.
    """
    choice, obstacle = None, None
    try:
        if _is_lacking(wanted["version"], facts, there):
            choice = _choice(wanted, facts["pkg_mgr"], there, node)
    except Refusal as refusal:
        obstacle = refusal
    # A .run has no repository.
    files = {path: text_files.of(None) for path in repositories.paths(repositories.DRIVER)}
    files.update(_pins(wanted["version"], facts["pkg_mgr"], there, choice))
    return Seen(choice, obstacle, files, text_files.look(files))


def installing(seen: Seen, family: package_family.Family, node: Node) -> list[Step]:
    """Return the step that installs it; [] for none.

    :param family: what belongs to the driver.
    :raises Refusal: it has to come, and cannot be had.
    """
    if seen.obstacle:
        raise seen.obstacle
    if seen.choice is None:
        return []
    words = ", ".join(f"{name} {version}" for name, version in seen.choice.packages.items())
    action = functools.partial(package_sets.install, seen.choice, family, node.tree, node.execute)
    return [Step(f"install {words}", action)]


def others(there: dict[str, str]) -> dict[str, str]:
    """Return those of the driver's packages, {name: version}, that are none of its own."""
    return {name: version for name, version in there.items() if not fabric_manager.is_package(name)}


def _is_lacking(version: str, facts: Surveyed, there: dict[str, str]) -> bool:
    """Say whether NVSwitches need one that is not there, or goes with the driver's packages."""
    is_there = facts["fabric_manager"]["version"] == version and not others(there)
    return bool(facts["nvswitches"]) and not is_there


def _choice(
    wanted: Present, manager: str, there: dict[str, str], node: Node
) -> package_choice.Choice:
    """Return what has to be installed.

    :raises Refusal: the host is offered none of this version.
    """
    branch, rows = wanted["branch"], wanted["repositories"].values()
    names = sorted(
        {name for row in rows for name in package_choice.fabric_manager_names(row, branch)}
    )
    bare = package_choice.Choice(wanted["version"], {}, [])
    try:
        offers = package_manager.named(manager).offered(node.tree, names)
        choice = package_choice.with_fabric_manager(bare, names, offers)
    except Refusal as refusal:
        raise Refusal(
            refusal.what,
            f"a .run file brings none for the NVSwitches of this host, and {refusal.because}",
            "Offer the host a repository that has it, such as NVIDIA's own, install it by "
            "other means, or say gpunode_driver_method: package",
        ) from refusal
    # The package of another branch has another name.
    superseded = {name for name in there if fabric_manager.brings(name)} - set(choice.packages)
    return choice._replace(superseded=sorted(superseded))


def _pins(
    version: str, manager: str, there: dict[str, str], choice: package_choice.Choice | None
) -> dict[str, text_files.TextFile]:
    """Return what holds it: in another version it does not run with the driver."""
    held = {
        name: found
        for name, found in there.items()
        if fabric_manager.is_package(name) and not (choice and name in choice.superseded)
    }
    held.update(choice.packages if choice else {})
    if not held:
        return pins.unwanted_files(manager)
    return pins.wanted_files(
        manager, held, version, package_family.Family(sorted(held), [], [], [], {})
    )
