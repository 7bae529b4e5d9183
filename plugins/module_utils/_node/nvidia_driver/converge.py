# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The NVIDIA driver of a host brought to its wanted state: looked at, planned, done, proven."""

from __future__ import annotations

from typing import Any

from ..component.bring import Host
from ..steps import Result
from . import apply, observe, plan, removal, services
from .wanted import Absent, Present


def converge(host: Host, asked: dict[str, Any], check_mode: bool) -> Result:
    """Bring the driver to the wanted state; return the steps.Result.

    :param asked: the parameters of the module; what is unsaid does not come here.
    :raises Refusal: it cannot be done, or would interrupt whom nobody consented to interrupt; the
        driver that was there is there.
    """
    wanted: Absent | Present = asked["wanted"]
    consent = asked["consent"]
    if wanted["state"] == "absent":
        return removal.converge(host, wanted["repositories"], check_mode)
    seen = observe.observe(host, wanted, consent, asked["drain"])
    plan.refuse(seen, consent)
    needs = seen.method.needs()
    if needs and not check_mode:
        return Result(needs=needs)
    todo = plan.plan(seen, consent, host)
    result = Result(todo.changes, plan.diff(seen))
    if check_mode and todo.changes:
        return result
    facts, states, version = host.found, seen.units, seen.method.version
    if not check_mode:
        apply.apply(todo, seen, host)
        facts, states = host.survey(), services.states(host.run)
        version = apply.prove(seen, facts, host)
    is_loaded = facts["driver"]["loaded"]["version"] == version
    result.manifest = apply.in_place(seen, plan.units(seen), is_loaded, states)
    return result
