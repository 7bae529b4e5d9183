# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing peer memory to its route: the host is looked at, the way planned, and gone.

The proof is a second look: nothing may be left to do then.
"""

from __future__ import annotations

from typing import Any

from .. import steps
from ..component.bring import Node
from ..facts_shape import Surveyed
from ..rdma import peer_route
from ..records import manifest
from ..refusal import Refusal
from . import observe, outlook, plan, refusals, sources
from .case import Case, had
from .case import case as case_of
from .target import target as target_of
from .wanted import Said


def converge(node: Node, asked: dict[str, Any], check_mode: bool) -> steps.Result:
    """Bring peer memory to the wanted route; return the steps.Result.

    :param asked: the parameters of the module; what is unsaid does not come here.
    :raises Refusal: it cannot be done; what was there is there.
    """
    case = _case(asked, node, node.found, check_mode)
    planned = plan.plan(case, node)
    changes = steps.sentences(planned.steps)
    if check_mode:
        is_there = not changes and not case.target.foretold
        return steps.Result(changes, planned.diff, _manifest(planned, case) if is_there else [])
    if planned.needs:
        return steps.Result(needs=planned.needs)
    steps.run(planned.steps)
    after = _case(asked, node, node.survey(), check_mode)
    _refuse_unfinished(plan.plan(after, node), after)
    sources.forget()
    return steps.Result(changes, planned.diff, _manifest(planned, after))


def _case(asked: dict[str, Any], node: Node, facts: Surveyed, check_mode: bool) -> Case:
    """Look at the host, and return its Case.

    :param facts: what was seen of it just now.
    :raises Refusal: it cannot be brought to what is wanted.
    """
    wanted: Said = asked["wanted"]
    drivers = observe.drivers(node.tree, facts, wanted["driver"]["module"])
    target = target_of(wanted, facts, drivers, asked["consent"], check_mode)
    seen = observe.observe(node, facts, target, wanted)
    refusals.refuse_in_use(target, seen)
    ahead = (
        outlook.to_be(wanted, facts, target.basis, asked["consent"], asked["drain"])
        if check_mode
        else outlook.of_host(facts)
    )
    case = case_of(wanted, target, seen, ahead, node)
    refusals.refuse(case, asked["consent"])
    return case


def _refuse_unfinished(left: plan.Plan, after: Case) -> None:
    """Refuse to call done what is not.

    :raises Refusal: something is left to do.
    """
    if left.steps:
        raise Refusal(
            f"peer memory by {after.target.route}",
            "after all was done there is still to " + "; to ".join(steps.sentences(left.steps)),
            "Look who else works on this host, and run again",
        )


def _manifest(planned: plan.Plan, case: Case) -> list[dict[str, Any]]:
    """Return the entries of what is in place, and of what it was built for.

    :param planned: with what was done to files of others.
    :param case: what is there now.
    """
    paths = [path for path, file in planned.files.items() if file.text is not None]
    if case.target.route in peer_route.MODULES:
        for kernel in case.seen.kernels:
            release = kernel.row["release"]
            rows = observe.modules_of(case.seen.facts, case.target.route, release)
            paths += [row["path"] for row in rows]
            paths += [kernel.driver, f"{had(kernel.ofed)}/Module.symvers"]
    entries = [manifest.file(path) for path in dict.fromkeys(paths)]
    if case.target.is_built:
        entries += case.way.manifest()
    gone = [path for path, file in planned.files.items() if file.text is None]
    return [*entries, *(manifest.absence(path) for path in gone)]
