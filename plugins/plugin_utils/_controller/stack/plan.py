# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a host's GPU stack: facts, wanted stack and catalog in, steps or refusals out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import loaded_module
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import (
    openibd_restart,
    rdma_stack,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs.wanted_stack import Stack
from . import case as stack_case
from . import due as stack_due
from . import notices as stack_notices
from . import refusals as stack_refusals
from .case import Case
from .due import Due
from .stack_catalog import StackCatalog

# What is done to a loaded module: the old one stays until the host was rebooted.
_UNTIL_REBOOT = stack_refusals.REPLACING - {"fabric-manager-mismatch"}
# What peer memory is built anew for.
_REBUILDING = {"not-installed", "other-version"}


def plan(
    wanted: Stack,
    facts: Mapping[str, Any],
    known: StackCatalog,
    cuda_builds: Sequence[Mapping[str, str]] = (),
    today: str = "",
) -> dict[str, Any]:
    """Return {steps, refusals, notices, inapplicable} of a host's GPU stack.

    A step is {component, rules, why: [sentence], from, to, interrupts: [str], consent: [names that
    it needs, given or not], waits: [those that were not given]}, in the order of application, and
    the last one may be the reboot. A notice is {rule, says}. A refused host has no steps: nothing
    of it is touched. ``inapplicable`` are the components that are not for this host.

    :param wanted: the wanted stack.
    :param known: the StackCatalog.
    :param cuda_builds: [{by, cuda, pytorch}], see case.Case.
    :param today: the date as 'YYYY-MM'.
    """
    return of_case(stack_case.Case(wanted, facts, known, cuda_builds, today))


def of_case(case: Case) -> dict[str, Any]:
    """Return the same as :func:`plan` of a case."""
    due = what_is_due(case)
    refusals = [
        Refusal(*words, rule=rule)
        for rule, found in stack_refusals.RULES.items()
        for words in found(case, due)
    ]
    notices = [
        {"rule": rule, "says": says}
        for rule, found in stack_notices.RULES.items()
        for says in found(case, due)
    ]
    steps = [] if refusals else _steps(case, due)
    return {
        "steps": steps,
        "refusals": refusals,
        "notices": notices + _missing_consents(steps),
        "inapplicable": [name for name in stack_due.RULES if not stack_due.applies(name, case)],
    }


def what_is_due(case: Case) -> Due:
    """Return what is due on a host as it stands, whatever is refused or waits there."""
    return {component: _due(component, case) for component in stack_due.RULES}


def _due(component: str, case: Case) -> dict[str, list[str]]:
    """Return {rule: [sentence]} of what makes a component due."""
    if not stack_due.applies(component, case):
        return {}
    found = {rule: list(says(case)) for rule, says in stack_due.RULES[component].items()}
    return {rule: says for rule, says in found.items() if says}


def _steps(case: Case, due: Due) -> list[dict[str, Any]]:
    """Return the steps that are due, of which others may make a reboot one."""
    found = {**due, "reboot": {**due["reboot"], **_reboots(case, due)}}
    return [_step(component, reasons, case) for component, reasons in found.items() if reasons]


def _reboots(case: Case, due: Due) -> dict[str, list[str]]:
    """Return {rule: [sentence]} of what the steps before make a reboot necessary for."""
    if not case.facts["own_kernel"]:
        return {}
    why = []
    waits = _UNTIL_REBOOT.intersection(due["nvidia_driver"]) - _without_reboot(case)
    if case.driver_there.loaded and waits and not case.may_reload:
        why.append(f"module {case.driver_there.loaded} stays loaded until then")
    if case.driver_there.in_the_way and due["nvidia_driver"]:
        why.append(f"{' and '.join(case.driver_there.in_the_way)} has the GPU until then")
    if _REBUILDING.intersection(due["peer_memory"]) and stack_due.is_peer_in_use(case):
        why.append(f"{case.peers.route} is in use, and stays loaded as it is until then")
    if due["mlnx_ofed"] and stack_due.exchanges_rdma(case) and not case.rdma.restarts_openibd:
        why.append("the RDMA modules that are loaded now stay until then")
    return {"takes-effect-by-reboot": why} if why else {}


def _without_reboot(case: Case) -> set[str]:
    """Return the rules that lead to no reboot, as the wanted module is loaded already."""
    wanted = case.driver_to_be
    is_loaded = loaded_module.is_loaded(case.facts, wanted.version, wanted.module_type == "open")
    return {"libraries-mismatch"} if is_loaded else set()


def _restarts_openibd(case: Case) -> bool:
    """Say whether the step of the RDMA stack restarts openibd, which interrupts RDMA."""
    return case.rdma.restarts_openibd and stack_due.exchanges_rdma(case)


def _missing_consents(steps: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "rule": "needs-consent",
            "says": f"{step['component']} waits for gpunode_consent: [{', '.join(step['waits'])}]",
        }
        for step in steps
        if step["waits"]
    ]


def _step(component: str, reasons: Mapping[str, Sequence[str]], case: Case) -> dict[str, Any]:
    consent = list(_consents(component, reasons, case))
    return {
        "component": component,
        "rules": sorted(reasons),
        "why": [says for found in reasons.values() for says in found],
        "from": _FROM[component](case),
        "to": _TO[component](case),
        "interrupts": _interrupts(component, reasons, case),
        "consent": consent,
        "waits": [name for name in consent if name not in case.consent],
    }


def _interrupts(component: str, reasons: Mapping[str, Sequence[str]], case: Case) -> list[str]:
    if component == "reboot":
        return ["everything on the host"]
    if component == "mlnx_ofed" and _restarts_openibd(case):
        return ["RDMA traffic"]
    if component == "nvidia_driver" and stack_refusals.disturbs(case, reasons):
        # Programs that start find libraries and module of two versions.
        return ["work on the GPUs"] if case.driver_there.loaded else []
    return []


def _consents(component: str, reasons: Mapping[str, Sequence[str]], case: Case) -> Iterator[str]:
    if component == "reboot":
        yield "reboot"
    if component == "mlnx_ofed" and _restarts_openibd(case):
        yield openibd_restart.CONSENT
    if component == "nvidia_driver":
        if {"other-method", "mixed-methods"}.intersection(reasons):
            yield "change_method"
        if case.host.clients and stack_refusals.disturbs(case, reasons):
            yield "stop_gpu_clients"


def _driver_to_be(case: Case) -> str:
    return f"{case.driver_to_be.version} {case.driver_to_be.module_type}"


def _route_to_be(case: Case) -> str:
    route = case.peers.route
    return f"{route} {case.peers.tag}" if route == "nv_peer_mem" else route


_FROM = {
    "mlnx_ofed": lambda case: rdma_stack.described(case.facts["rdma_stack"]),
    "nvidia_driver": lambda case: case.driver_there.installed,
    "vgpu_license": lambda case: "",
    "peer_memory": lambda case: ", ".join(case.facts["peer_memory"]["loaded"]),
    "reboot": lambda case: "",
}
_TO = {
    "mlnx_ofed": lambda case: rdma_stack.described(case.ofed),
    "nvidia_driver": _driver_to_be,
    "vgpu_license": lambda case: "licensed",
    "peer_memory": _route_to_be,
    "reboot": lambda case: "",
}
