# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be known of a host before the work on its driver is planned, looked at once."""

from __future__ import annotations

from collections.abc import Container
from typing import Callable, NamedTuple

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..gpu import in_kernel_drivers, loaded_module
from ..kernel import modprobe
from ..system import text_files
from . import by_packages, by_runfile, drain, modprobe_conf, services
from .method import Method
from .target import Target
from .wanted import Present

_METHODS: dict[str, Callable[[Target, Node], Method]] = {
    "runfile": by_runfile.of_host,
    "package": by_packages.of_host,
}


class Seen(NamedTuple):
    """A host as it was when the work began, and what is wanted of it.

    :ivar target: the wanted driver, held against the facts.
    :ivar method: the way it is installed.
    :ivar files: {path: TextFile} of our settings as they are to be.
    :ivar stale: {path: TextFile} of those that are not so, as they were found.
    :ivar units: {unit: {property: value}} of the driver's daemons.
    :ivar in_the_way: {triggers, services}: what an exchange of the driver stops, see drain.survey.
    :ivar unused: names of the kernel's own drivers that are loaded and nobody uses.
    """

    target: Target
    method: Method
    files: dict[str, text_files.TextFile]
    stale: dict[str, text_files.TextFile]
    units: dict[str, dict[str, str]]
    in_the_way: dict[str, list[str]]
    unused: list[str]


def observe(node: Node, wanted: Present, consent: Container[str], asked_units: list[str]) -> Seen:
    """Look at a host.

    :param wanted: the wanted state.
    :param consent: the names of gpunode_consent.
    :param asked_units: the units of gpunode_drain.
    :raises Refusal: nothing brings that driver to this host.
    """
    facts = node.found
    target = Target(wanted, facts)
    files = {
        **modprobe_conf.wanted_files(node.tree, wanted["parameters"]),
        **_unit_files(target),
    }
    return Seen(
        target=target,
        method=_METHODS[wanted["method"]](target, node),
        files=files,
        stale={path: text_files.found(path) for path in text_files.stale(files)},
        units=services.states(node.run),
        in_the_way=_in_the_way(facts, consent, asked_units, node),
        unused=[
            name for name in loaded_in_kernel_drivers(facts) if modprobe.is_unused(name, node.tree)
        ],
    )


def _unit_files(target: Target) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of our settings for the driver's daemons."""
    wanted, command = target.wanted, ""
    own_unit = wanted["method"] == "runfile"
    if not own_unit:
        repository = wanted["repositories"][target.package_row["repository"]]
        command = repository.get("persistenced_command", "")
    return services.wanted_files(wanted["persistence"], own_unit, command)


def loaded_in_kernel_drivers(facts: Surveyed) -> list[str]:
    """Return the names of the kernel's own drivers that are loaded."""
    rows = in_kernel_drivers.by_name(facts["in_kernel_drivers"])
    return [name for name, row in rows.items() if row["loaded"]]


def _in_the_way(
    facts: Surveyed, consent: Container[str], asked_units: list[str], node: Node
) -> dict[str, list[str]]:
    """Return what is stopped for an exchange of the driver, as drain.survey has it."""
    if not facts["driver"]["loaded"]["version"] or "stop_gpu_clients" not in consent:
        return {"triggers": [], "services": []}
    # A reboot ends the daemons in order, and they hold nobody up until then.
    daemons = drain.DAEMONS if loaded_module.may_exchange(facts, consent) else ()
    return drain.survey([*asked_units, *daemons], node.run)
