# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of one host, from what its variables ask for and what was seen of it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import (
    Collected,
    Refusal,
)

from .. import wanted_state
from ..components.registry import COMPONENTS, STANDS_ON, TELLING
from ..conda import cuda_builds
from ..inputs.wanted_stack import Stack
from ..stack import plan as stack_plan
from ..stack import selection, stack_catalog
from ..stack.case import Case
from . import planner

_CONTROLLER = "this is the machine that gpunode runs on: it is left to you to reboot it"


@dataclasses.dataclass
class Wishes:
    """What the variables of a host ask for.

    :ivar states: {component: wanted state}, in the order of application.
    :ivar digests: {component: what its receipt would name}.
    :ivar asked: {component: digests of the parts of what it is asked for}, see inputs/asked.py.
    :ivar stack: the GPU stack, as Site.stack returns it.
    :ivar refusals: what cannot be understood, and is not wanted either.
    :ivar expect_converged: whether that was to be brought about already.
    :ivar checks: the components that a run has changed, whose checks the same look makes.
    """

    states: dict[str, dict[str, Any]]
    digests: dict[str, str]
    asked: dict[str, dict[str, str]]
    stack: Stack
    refusals: list[Refusal]
    expect_converged: bool
    checks: list[str]

    def probe(self) -> dict[str, list[str]]:
        """Return the arguments of node_info: what the plan must know, each thing once."""
        asked = [COMPONENTS[name].probe(state) for name, state in self.states.items()]
        return {
            key: sorted({item for probe in asked for item in probe.get(key, ())})
            for key in ("paths", "users", "units")
        }

    def removing(self) -> list[str]:
        """Return the names of the components that are to remove something."""
        return [name for name, state in self.states.items() if COMPONENTS[name].absent(state)]


def wishes(site: wanted_state.Site, names: Iterable[str]) -> Wishes:
    """Return the Wishes of a host.

    :param site: its wanted_state.Site.
    :param names: the names of all its variables; those that nobody reads are refused.
    """
    states: dict[str, dict[str, Any]] = {}
    collected = Collected()
    for component, resolver in COMPONENTS.items():
        # One that cannot be hides no other.
        state = collected.ask(resolver.is_wanted, site) and collected.ask(site.wanted, component)
        if state:
            states[component] = state
    fleet = collected.ask(site.options, "preflight") or {"expect_converged": False, "checks": []}
    stack = collected.ask(site.stack) or selection.NOTHING
    unread = [*(collected.ask(site.unread, names) or []), *site.not_inventory()]
    digests = {component: site.digest(component) for component in states}
    parts = {component: site.asked(component) for component in states}
    refusals = [*collected.refusals, *unread]
    return Wishes(
        states, digests, parts, stack, refusals, fleet["expect_converged"], fleet["checks"]
    )


def plan(
    asked: Wishes,
    facts: facts_shape.Facts,
    address: str = "",
    is_controller: bool = False,
    today: datetime.date | None = None,
) -> dict[str, Any]:
    """Return {plan, due, absent} of a host, as the module ``plan`` does.

    :param asked: its Wishes.
    :param facts: what node_info found.
    :param address: where it is reached, for people.
    :param is_controller: whether this program runs on that very host, which nobody then reboots.
    :param today: a datetime.date; that of the run where it is None.
    """
    refusals = list(asked.refusals)
    for name, state in asked.states.items():
        refusals += COMPONENTS[name].refusals(state, facts)
    gpu = _stack_plan(asked, facts, today or datetime.date.today())
    refusals += gpu.pop("refusals")
    inapplicable = set(gpu.pop("inapplicable")).difference(asked.removing())
    for name in TELLING:
        if name in asked.states:
            gpu["notices"] += COMPONENTS[name].notices(asked.states[name], facts)
    digests = {name: digest for name, digest in asked.digests.items() if name not in inapplicable}
    found = planner.plan(digests, facts["receipts"], refusals, STANDS_ON, gpu["steps"], asked.asked)
    due = planner.due(found)
    if is_controller and planner.REBOOT in due:
        due.remove(planner.REBOOT)
        gpu["notices"].append({"rule": "controller", "says": _CONTROLLER})
    found |= {
        "stack": gpu,
        "unwanted": {} if refusals else planner.unwanted(_names(asked.states), facts["receipts"]),
        "wanted": {name: COMPONENTS[name].summary(asked.states[name]) for name in digests},
        "address": address,
    }
    removing = asked.removing()
    return {"plan": found, "due": due, "absent": [name for name in due if name in removing]}


def refused(refusal: Refusal, address: str = "") -> dict[str, Any]:
    """Return the same of a host that was not looked at, for one reason.

    :param address: where it is reached, for people.
    """
    found = planner.plan({}, {}, [refusal]) | {
        "stack": {"name": "", "steps": [], "notices": []},
        "unwanted": {},
        "wanted": {},
        "address": address,
    }
    return {"plan": found, "due": [], "absent": []}


def unfinished(answer: Mapping[str, Any], components: Collection[str] = ()) -> str:
    """Return the sentence for a host that was converged and is still not as wanted; '' else.

    :param answer: what :func:`plan` returned after that.
    :param components: those that count; all where there are none.
    """
    found = answer["plan"]
    left = [name for name in answer["due"] if name in (components or answer["due"])]
    reasons = [f"{name}: {'; '.join(found['components'][name]['why'])}" for name in left]
    reasons += [f"{refusal['what']}: {refusal['because']}" for refusal in found["refusals"]]
    if not reasons:
        return ""
    return f"The host was converged and still is not as wanted. {'. '.join(reasons)}"


def _stack_plan(asked: Wishes, facts: facts_shape.Facts, today: datetime.date) -> dict[str, Any]:
    """Return the plan of the GPU stack; where none is wanted, environments may need a driver."""
    found = stack_plan.of_case(case_of(asked, facts, today))
    unsaid = [step for step in found["steps"] if _is_unsaid(step, asked.states)]
    return {
        **found,
        "name": asked.stack["name"],
        "steps": [step for step in found["steps"] if step not in unsaid],
        "notices": [
            *found["notices"],
            *map(_license_unsaid, unsaid),
            *_left_loaded(asked.states, facts),
            *_noted(asked.states, facts),
        ],
    }


def case_of(asked: Wishes, facts: facts_shape.Facts, today: datetime.date) -> Case:
    """Return the GPU stack that a host is to have, held against its facts."""
    environments = asked.states.get("conda_env", {}).get("environments", [])
    known, needs = stack_catalog.of_project(), cuda_builds.of(environments)
    return Case(asked.stack, facts, known, needs, f"{today:%Y-%m}")


def _is_unsaid(step: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether nothing was said of a step's component: of a guest's licence.

    Others may look after that.
    """
    return step["component"] == "vgpu_license" and "vgpu_license" not in states


def _license_unsaid(step: Mapping[str, Any]) -> dict[str, str]:
    says = f"{'; '.join(step['why'])}: say vgpu_license_token or vgpu_license_server"
    return {"rule": "license-unsaid", "says": says}


def _noted(
    states: Mapping[str, Mapping[str, Any]], facts: facts_shape.Facts
) -> list[dict[str, str]]:
    """Return the notices of what is not ours, was there at the proof and is still."""
    return [
        {"rule": "not-ours", "says": says}
        for component in states
        if component in facts["receipts"]
        for says in facts["receipts"][component].get("notes", [])
    ]


def _left_loaded(
    states: Mapping[str, Mapping[str, Any]], facts: facts_shape.Facts
) -> list[dict[str, str]]:
    """Return the notices of a driver that was removed and is still in memory.

    No reboot follows from it: a container may have loaded it, and would again.
    """
    driver = facts["driver"]
    is_gone = not driver["modules"] and not driver["libraries"]
    if states.get("nvidia_driver", {}).get("state") != "absent" or not is_gone:
        return []
    version = driver["loaded"]["version"]
    says = f"driver {version} is on disk no more, and stays loaded until the host is rebooted"
    return [{"rule": "left-loaded", "says": says}] if version else []


def _names(states: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return {component: names of all that its state speaks of}."""
    return {
        name: COMPONENTS[name].present(state) + COMPONENTS[name].absent(state)
        for name, state in states.items()
    }
