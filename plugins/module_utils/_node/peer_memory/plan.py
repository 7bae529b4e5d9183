# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done about peer memory: pure, from what is wanted and what was seen.

Modules of every kernel are built first, and held against the driver and the RDMA stack: one that
would not load is never installed. Only then do others give way.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from ..component.bring import Node
from ..kernel import modprobe
from ..packages import package_manager
from ..rdma import peer_route
from ..steps import Step
from ..system import text_files
from . import apply, boot
from .case import Case


class Plan(NamedTuple):
    """What is to be done.

    :ivar steps: the steps.Step, in order.
    :ivar needs: the names of the files of the controller that the host lacks.
    :ivar diff: the differences of the files, as Ansible shows them.
    :ivar files: {path: text_files.TextFile} of what is to be there.
    """

    steps: list[Step]
    needs: list[str]
    diff: list[dict[str, str]]
    files: dict[str, text_files.TextFile]


def plan(case: Case, node: Node) -> Plan:
    """Return the Plan of a host.

    The module that is there goes once the new one is built. What came by another way goes right
    before, for it may lie at the very same path.

    :param case: the Case, of which nothing is refused.
    :param node: where it is to be done.
    """
    files = _files(case)
    stale = text_files.stale(files, case.seen.there)
    # Where modules are built, that comes first; what is still to come says what is in them.
    is_to_come = bool(case.unfit or case.target.foretold)
    stale = [path for path in stale if path not in case.way.files or not is_to_come]
    there = case.seen.there
    steps = [
        *_building(case, node),
        *_unloading(case, node),
        *(step for way in case.others for step in way.removing()),
        *_installing(case),
        *case.way.removing(),
        *_removing(case, node),
        *text_files.settling({path: files[path] for path in stale}, there),
        *_loading(case, node),
    ]
    diff = [
        text_files.diff(path, files[path], there.get(path, text_files.NOTHING)) for path in stale
    ]
    return Plan(steps, _needs(case, node), diff, files)


def _needs(case: Case, node: Node) -> list[str]:
    """Return the names of the files of the controller that the host lacks."""
    if not case.unfit or not case.way.lacks_sources:
        return []
    file = case.target.tags[0]["file"]
    return [] if "://" in file or file in node.sent else [file]


def _building(case: Case, node: Node) -> list[Step]:
    """Return what makes the modules of every kernel, beside those that are there."""
    if not case.unfit:
        return []
    rows = [row for row in case.target.kernels if row["release"] in case.unfit]
    drivers = {kernel.row["release"]: kernel.driver for kernel in case.seen.kernels}
    return [
        *package_manager.installing_missing(case.seen.lacking, node.execute, node.run),
        Step(
            f"build {_described(case)}",
            functools.partial(apply.build, case.way, rows, drivers, node.tree),
        ),
    ]


def _installing(case: Case) -> list[Step]:
    """Return what puts the modules in place that were built."""
    if not case.unfit:
        return []
    install = functools.partial(case.way.install, case.unfit)
    return [Step(f"install {_described(case)}", install)]


def _described(case: Case) -> str:
    return f"{case.target.route} {case.way.order.tag} for kernel {', '.join(case.unfit)}"


def _unloading(case: Case, node: Node) -> list[Step]:
    """Return what unloads the modules of other routes, and the one that is built anew."""
    route = case.target.route
    return [
        Step(f"unload {name}", functools.partial(modprobe.unload, name, node.run))
        for name in [*peer_route.others(route), *([route] if _reloads(case) else [])]
        if name in case.outlook.modules
    ]


def _removing(case: Case, node: Node) -> list[Step]:
    """Return what removes modules that nobody answers for."""
    remove = functools.partial(apply.remove_module, node.tree, node.run)
    return [Step(f"remove {path}", functools.partial(remove, path)) for path in case.unowned]


def _loading(case: Case, node: Node) -> list[Step]:
    """Return what loads the module, as far as it can be now."""
    route = case.target.route
    is_there = route in case.outlook.modules and not _reloads(case)
    if is_there or not _can_load(case):
        return []
    return [Step(f"load {route}", functools.partial(apply.load, route, node.run))]


def _files(case: Case) -> dict[str, text_files.TextFile]:
    is_legacy = case.target.basis.stack_version.startswith("4.")
    built_for = case.target.basis.called if case.target.is_built else ""
    return {
        **boot.wanted_files(case.seen.at_boot, case.target.route, is_legacy, built_for),
        **{path: file for way in case.ways.values() for path, file in way.files.items()},
    }


def _can_load(case: Case) -> bool:
    """Say whether driver and RDMA stack that are loaded are those that the module is for."""
    route, facts = case.target.route, case.seen.facts
    if not (facts["own_kernel"] and case.outlook.driver_runs and route in peer_route.MODULES):
        return False
    if peer_route.is_kept_out(route, facts["secure_boot"]) or case.outlook.stack_is_stale:
        return False
    return facts["kernel"] in case.target.releases


def _reloads(case: Case) -> bool:
    """Say whether the module that is loaded gives way to the one on disk, now or once it is built.

    One that is in use stays, and the plan says so.
    """
    route, peers = case.target.route, case.seen.facts["peer_memory"]
    is_changed = case.seen.facts["kernel"] in case.unfit or route in peers["stale"]
    is_unused = route in case.outlook.modules and route not in peers["in_use"]
    return is_changed and is_unused and _can_load(case)
