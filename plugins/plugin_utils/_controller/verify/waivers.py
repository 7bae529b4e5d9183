# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks that may fail on a host until a day, with the reason that somebody gave for it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss, terminal
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import (
    Collected,
    Refusal,
)

from . import table
from .check import Waived

_OPTION = "gpunode_waivers"
_KEYS = ("check", "reason", "until")
# What somebody may wave through without a word cannot be waved through itself.
_NEVER = (table.WAIVERS, table.ASKED)


class Waiver(NamedTuple):
    """One check that may fail.

    :ivar until: the last day on which it may.
    """

    check: str
    reason: str
    until: datetime.date

    def is_over(self, today: datetime.date) -> bool:
        """Say whether its last day is past."""
        return today > self.until

    def shown(self) -> Waived:
        """Return it as a result carries it."""
        return {"reason": terminal.one_line(self.reason), "until": self.until.isoformat()}


def parsed(rows: Iterable[Mapping[str, Any]]) -> dict[str, Waiver]:
    """Return {check: Waiver} of what a host's variables say.

    :param rows: {check, reason, until}, as the option gpunode_waivers has them.
    :raises Refusal: one of them is none, with all others that are none.
    """
    collected = Collected()
    found: dict[str, Waiver] = {}
    for row in rows:
        waiver = collected.ask(_parsed, row)
        if waiver and waiver.check in found:
            collected.ask(_refuse_twice, waiver.check)
        elif waiver:
            found[waiver.check] = waiver
    collected.refuse()
    return found


def _parsed(row: Mapping[str, Any]) -> Waiver:
    unknown = sorted(set(row).difference(_KEYS))
    if unknown:
        raise Refusal(
            f"{_OPTION}: {unknown[0]}",
            "a waiver has no such key",
            near_miss.remedy(unknown[0], _KEYS, f"It has {', '.join(_KEYS)}"),
        )
    name, reason, until = (str(row.get(key) or "").strip() for key in _KEYS)
    what = f"{_OPTION}: {name}"
    if name not in table.CHECKS:
        remedy = near_miss.remedy(name, table.CHECKS, "docs/checks.md has their names")
        raise Refusal(what, "there is no check of that name", remedy)
    if name in _NEVER:
        raise Refusal(what, "it cannot be waived", "Mend what it names")
    if not reason:
        raise Refusal(what, "it has no reason", "Say reason: and why it is accepted")
    try:
        day = datetime.date.fromisoformat(until)
    except ValueError:
        raise Refusal(
            what,
            f"until is {until or 'not said'}, and it is to be a day",
            'Write the last day on which it is accepted, such as until: "2027-01-31"',
        ) from None
    return Waiver(name, reason, day)


def _refuse_twice(name: str) -> None:
    raise Refusal(f"{_OPTION}: {name}", "it stands there twice", "Keep one of the two")


def ended(waivers: Mapping[str, Waiver], today: datetime.date) -> list[str]:
    """Return a sentence for each waiver whose last day is past."""
    return [
        f"the waiver of {waiver.check} ended on {waiver.until.isoformat()}: {waiver.reason}"
        for waiver in waivers.values()
        if waiver.is_over(today)
    ]
