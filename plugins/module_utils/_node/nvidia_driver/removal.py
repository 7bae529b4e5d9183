# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host without the NVIDIA driver, whichever way it came there, and without all that is ours."""

from __future__ import annotations

import functools
import os
import shutil
from typing import Any, NamedTuple

from .. import steps
from ..component.bring import Node
from ..facts_shape import Surveyed
from ..gpu import clients as gpu_clients
from ..gpu import drained, driver_archive
from ..kernel import dkms
from ..packages import repositories as sources
from ..refusal import Refusal
from ..steps import Result, Step
from ..system import text_files
from . import (
    apply,
    kernel_modules,
    modprobe_conf,
    package_family,
    package_sets,
    pins,
    runfile,
    runfile_exchange,
    services,
)

# What dnf notes of the module stream that somebody enabled for the driver, dnf.modularity(7).
_STREAM = "/etc/dnf/modules.d/nvidia-driver.module"


class Seen(NamedTuple):
    """What a host has of a driver.

    :ivar facts: what was seen of it when the work began.
    :ivar units: {unit: {property: value}} of the driver's daemons.
    :ivar unit_files: the paths of our files for these that are there.
    :ivar dkms_trees: [(name, version)] of the trees of DKMS that are called as those of a .run.
    :ivar folders: those that are there of what is kept and unpacked.
    :ivar family: what belongs to a driver of packages.
    :ivar packages: {name: version} of those that are installed.
    :ivar files: {path: TextFile} of what else is ours, as it is to be.
    :ivar there: {path: OnDisk} of these.
    """

    facts: Surveyed
    units: dict[str, dict[str, str]]
    unit_files: list[str]
    dkms_trees: list[tuple[str, str]]
    folders: list[str]
    family: package_family.Family
    packages: dict[str, str]
    files: dict[str, text_files.TextFile]
    there: dict[str, text_files.OnDisk]


def converge(node: Node, repositories: dict[str, Any], check_mode: bool) -> Result:
    """Remove the driver; return the steps.Result.

    A module that is loaded stays so until the host is rebooted.

    :param repositories: {name: row} of the catalog.
    :raises Refusal: somebody uses the GPUs, or the removal failed.
    """
    seen = observe(node, repositories)
    refuse(seen.facts)
    # Before a daemon is ended or anything that is kept goes.
    package_sets.check_removal(seen.family, node.tree, node.execute)
    todo = plan(seen, node)
    if not check_mode:
        with apply.unit_errors_refused():
            steps.run(todo)
    return Result(steps.sentences(todo))


def observe(node: Node, repositories: dict[str, Any]) -> Seen:
    """Look at a host."""
    facts, tree = node.found, node.tree
    family = package_family.of_unknown(facts, repositories)
    nothing = text_files.of(None)
    files = {
        **dict.fromkeys(sources.paths(sources.DRIVER), nothing),
        **pins.unwanted_files(facts["pkg_mgr"]),
        # Who was stopped for a driver has none to run with.
        **dict.fromkeys((*modprobe_conf.PATHS, drained.note_path(), _STREAM), nothing),
    }
    return Seen(
        facts=facts,
        units=services.states(node.run),
        unit_files=text_files.stale(services.wanted_files(persistence=False, own_unit=False)),
        dkms_trees=_dkms_trees(node),
        folders=[
            folder
            for folder in (driver_archive.DIR, runfile_exchange.WORK_DIR)
            if os.path.isdir(folder)
        ],
        family=family,
        packages=package_sets.installed(tree, family),
        files=files,
        there=text_files.look(files),
    )


def refuse(facts: Surveyed) -> None:
    """Refuse to take the driver from those who use it.

    :raises Refusal: somebody does.
    """
    clients = gpu_clients.at_work(facts["gpu_clients"])
    if clients:
        raise Refusal(
            "GPU in use",
            "; ".join(map(gpu_clients.described, clients)),
            "Stop them for good: they cannot run without the driver",
        )


def plan(seen: Seen, node: Node) -> list[Step]:
    """Return what is done.

    :param node: the one that it is to be done on; nothing is asked of it.
    """
    todo = services.removal_steps(seen.units, seen.unit_files, node.run)
    version = seen.facts["driver"]["runfile"]
    remove = functools.partial(_remove_runfile, node)
    if version:
        todo.append(runfile.removal(version, remove))
    elif seen.dkms_trees:
        todo.append(Step("remove the modules that are left in DKMS", remove))
    for folder in seen.folders:
        todo.append(Step(f"remove {folder}", functools.partial(shutil.rmtree, folder)))
    if seen.packages:
        todo.append(package_sets.removal(sorted(seen.packages), seen.family, node))
    return todo + text_files.settling(seen.files, seen.there)


def _remove_runfile(node: Node) -> None:
    """Remove what a .run brought, and its modules where an uninstaller is gone."""
    runfile.uninstall(node.execute, node.tree)
    # Looked at again: the uninstaller takes its own along.
    for name, version in _dkms_trees(node):
        dkms.remove(node.tree, name, version, node.execute)


def _dkms_trees(node: Node) -> list[tuple[str, str]]:
    found = kernel_modules.others(node.tree, None)
    return [row for row in found if row[0] == kernel_modules.OF_RUNFILE]
