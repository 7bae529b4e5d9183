# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks that one look at a host is enough for: seconds, no load, and nothing is changed."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape, terminal, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..plan import host_plan
from ..stack import plan as stack_plan
from . import table, waivers
from .check import (
    FAILED,
    NOT_PROVABLE,
    PASSED,
    WAIVED,
    Check,
    Found,
    Host,
    Result,
    filled,
)
from .waivers import Waiver


def looked_at(
    asked: host_plan.Wishes,
    facts: facts_shape.Facts,
    planned: Mapping[str, Any],
    waived: Mapping[str, Waiver],
    today: datetime.date,
    subjects: Collection[str] = (),
) -> list[Result]:
    """Return how each check ended that is about a host, in the order of the table.

    :param asked: what its variables ask for.
    :param facts: of node_info.
    :param planned: its plan, as host_plan.plan makes it of these two.
    :param waived: {check: Waiver} of the host.
    :param today: the day that waivers are held against.
    :param subjects: those whose checks are looked at; all where there are none.
    """
    case = host_plan.case_of(asked, facts, today)
    due = stack_plan.what_is_due(case)
    host = Host(asked, facts, planned, case, due, waivers.ended(waived, today))
    return [
        _result(check, host, waived.get(check.id), today)
        for check in table.CHECKS.values()
        if (not subjects or check.subject in subjects) and check.applies(host)
    ]


def of_components(
    asked: host_plan.Wishes,
    facts: facts_shape.Facts,
    planned: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
) -> list[Result]:
    """Return how the checks of those components ended that a run has changed.

    :param asked: what its variables ask for; its ``checks`` are those components.
    :param rows: the waivers of the host as its variables have them; that some are none is told by
        :func:`looked_at` of all checks.
    """
    today = datetime.date.today()
    subjects = [name for component in asked.checks for name in table.SUBJECTS.get(component, ())]
    try:
        waived = waivers.parsed(rows)
    except Refusal:
        waived = {}
    return looked_at(asked, facts, planned, waived, today, subjects)


def not_reached(why: str, waived: Mapping[str, Waiver], today: datetime.date) -> list[Result]:
    """Return the one result of a host that was not reached.

    :param why: in the words of whoever tried.
    """
    return _alone(table.REACHED, [Found(why)], waived, today)


def not_answered(why: str, waived: Mapping[str, Waiver], today: datetime.date) -> list[Result]:
    """Return the one result of a host whose answer is none.

    :param why: what is wrong with it.
    """
    return _alone(table.ANSWERS, [Found(why)], waived, today)


def not_asked(refusals: Iterable[Refusal]) -> list[Result]:
    """Return the one result of a host of which cannot be told what is wanted."""
    found = [Found(f"{one.what}: {one.because}", one.remedy) for one in refusals]
    return _alone(table.ASKED, found, {}, datetime.date.max)


def _alone(
    name: str, found: list[Found], waived: Mapping[str, Waiver], today: datetime.date
) -> list[Result]:
    return [_ended(table.CHECKS[name], found, "", "", waived.get(name), today)]


def _result(check: Check, host: Host, waiver: Waiver | None, today: datetime.date) -> Result:
    found = [row for look in check.looks for row in look.found(host)]
    blind = [why for look in check.looks if (why := look.blind(host))]
    why = "; ".join(dict.fromkeys(blind))
    return _ended(check, found, why, host.facts["pkg_mgr"], waiver, today)


def _ended(
    check: Check,
    found: list[Found],
    blind: str,
    pkg_mgr: str,
    waiver: Waiver | None,
    today: datetime.date,
) -> Result:
    """Return the Result of a check.

    What was found counts, whatever else could not be seen.

    :param blind: what could not be seen, and why.
    :param pkg_mgr: the package manager of the host, in whose words remedies are.
    """
    is_waived = bool(found) and waiver is not None and not waiver.is_over(today)
    outcome = WAIVED if is_waived else FAILED if found else NOT_PROVABLE if blind else PASSED
    return {
        "check": check.id,
        "severity": check.severity,
        "outcome": outcome,
        "wanted": check.wanted,
        "because": blind if outcome == NOT_PROVABLE else "",
        "findings": [
            {
                "seen": _shown(row.seen),
                "remedy": _shown(filled(row.remedy or check.remedy, pkg_mgr, row.of)),
                "action": row.action or check.action,
            }
            for row in found
        ],
        "waiver": waiver.shown() if waiver and is_waived else None,
    }


def _shown(text: str) -> str:
    """Return a text as people may be shown it: of one line, without secrets of addresses."""
    return terminal.one_line(urls.shown(text))
