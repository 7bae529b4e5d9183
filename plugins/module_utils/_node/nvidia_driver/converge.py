# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The NVIDIA driver of a host brought to its wanted state: looked at, planned, done, proven."""

from __future__ import annotations

from typing import Any

from ..component.bring import Node
from ..steps import Result
from . import apply, observe, plan, removal, services
from .wanted import Absent, Present


def converge(node: Node, asked: dict[str, Any], check_mode: bool) -> Result:
    """Bring the driver to the wanted state; return the steps.Result.

    :param asked: the parameters of the module; what is unsaid does not come here.
    :raises Refusal: it cannot be done, or would interrupt whom nobody consented to interrupt; the
        driver that was there is there.
    """
    wanted: Absent | Present = asked["wanted"]
    consent = asked["consent"]
    if wanted["state"] == "absent":
        return removal.converge(node, wanted["repositories"], check_mode)
    seen = observe.observe(node, wanted, consent, asked["drain"])
    plan.refuse(seen, consent)
    needs = seen.method.needs()
    if needs and not check_mode:
        return Result(needs=needs)
    todo = plan.plan(seen, consent, node)
    result = Result(todo.changes, plan.diff(seen))
    if check_mode and todo.changes:
        return result
    facts, states, version = node.found, seen.units, seen.method.version
    if not check_mode:
        apply.apply(todo, seen, node)
        facts, states = node.survey(), services.states(node.run)
        version = apply.prove(seen, facts, node)
    is_loaded = facts["driver"]["loaded"]["version"] == version
    result.manifest = apply.in_place(seen, plan.units(seen), is_loaded, states)
    return result
