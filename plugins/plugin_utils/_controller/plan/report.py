# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's plans as text that is read in seconds: alike hosts share a paragraph."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

_NAMED = 8


def fleet_status(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """Return 'refused', 'changes' or 'converged': the gravest status among the hosts."""
    found = {plan["status"] for plan in plans.values()}
    return next((status for status in ("refused", "changes") if status in found), "converged")


def stops(plans: Mapping[str, Mapping[str, Any]], refused: str) -> bool:
    """Say whether a run ends here, since hosts are refused.

    :param refused: 'stop', or 'leave_out' to go on with those that are not, where there are any.
    """
    found = [plan["status"] == "refused" for plan in plans.values()]
    return any(found) and (refused != "leave_out" or all(found))


def rests(plans: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether there is nothing to be done on any host."""
    return fleet_status(plans) == "converged"


def as_document(
    plans: Mapping[str, Mapping[str, Any]], unreachable: Collection[str]
) -> dict[str, Any]:
    """Return the content of plan.json: the fleet's status and every host's plan."""
    return {"status": fleet_status(plans), "unreachable": sorted(unreachable), "hosts": plans}


def write(path: pathlib.Path, document: Mapping[str, Any]) -> None:
    """Write what :func:`as_document` returned, as :func:`write_text` does."""
    write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text that tells much of a fleet: a new file is one's own.

    :raises OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written where it is, since it may be a pipe.
    with open(
        path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
    ) as file:
        file.write(text)


def as_text(plans: Mapping[str, Mapping[str, Any]], unreachable: Collection[str]) -> str:
    """Return the plans for people.

    :param plans: {host: plan}.
    :param unreachable: hosts that did not answer.
    """
    same = {
        host: {key: value for key, value in plan.items() if key not in ("address", "checks")}
        for host, plan in plans.items()
    }
    paragraphs = [_paragraph(hosts, plans) for hosts in alike(same)]
    return "\n".join(paragraphs + left_out(unreachable))


def alike(found: Mapping[str, Any]) -> list[list[str]]:
    """Return lists of the hosts of which the same was found, the longest first.

    :param found: {host: anything that JSON can carry}.
    """
    groups: dict[str, list[str]] = {}
    for host in sorted(found):
        groups.setdefault(json.dumps(found[host], sort_keys=True), []).append(host)
    return sorted(groups.values(), key=lambda hosts: (-len(hosts), hosts))


def named(addresses: Mapping[str, str]) -> str:
    """Return how many hosts there are and which, from {host: address}."""
    return _hosts([_named(host, address) for host, address in addresses.items()])


def left_out(unreachable: Collection[str]) -> list[str]:
    """Return the lines about hosts that did not answer."""
    return [f"{_hosts(sorted(unreachable))}: not reached, left out"] if unreachable else []


def _paragraph(hosts: Sequence[str], plans: Mapping[str, Mapping[str, Any]]) -> str:
    plan = plans[hosts[0]]
    return "\n".join(
        [
            f"{named({host: plans[host]['address'] for host in hosts})}: "
            f"{_SENTENCES[plan['status']]}",
            *(
                f"    {line}"
                for line in [*_lines(plan), *_notice_lines(plan), *_unwanted_lines(plan)]
            ),
        ]
    )


def _named(host: str, address: str) -> str:
    return host if address in ("", host) else f"{host} at {address}"


_SENTENCES = {
    "converged": "converged, nothing to do",
    "changes": "to be changed",
    "refused": "refused, nothing was touched",
}


def _lines(plan: Mapping[str, Any]) -> list[str]:
    if plan["status"] == "refused":
        return [line for refusal in plan["refusals"] for line in refusal_lines(refusal)]
    if plan["status"] == "converged":
        stack = plan["stack"]["name"]
        return [item["says"] for items in plan["wanted"].values() for item in items] + (
            [f"GPU stack {stack}"] if stack else []
        )
    steps = plan["stack"]["steps"]
    told = {step["component"] for step in steps}
    return _step_lines(steps, plan["components"]) + [
        f"{name}: {reason}"
        for name, component in plan["components"].items()
        if component["due"] and name not in told
        for reason in component["why"]
    ]


def _step_lines(
    steps: Sequence[Mapping[str, Any]], components: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the steps of a GPU stack as a table: what, from and to, why; and what it takes.

    :param components: {name: {why}} of what has a role that applies it.
    """
    ways = [f"{step['from']} -> {step['to']}" if step["from"] else step["to"] for step in steps]
    wide = max((len(step["component"]) for step in steps), default=0)
    wider = max(map(len, ways), default=0)
    lines = []
    for step, way in zip(steps, ways, strict=True):
        why = components.get(step["component"], step)["why"]
        lines.append(f"{step['component']:{wide}}  {way:{wider}}  {'; '.join(why)}")
        if step["interrupts"]:
            lines.append(f"{'':{wide}}  interrupts {', '.join(step['interrupts'])}")
    return lines


def _notice_lines(plan: Mapping[str, Any]) -> list[str]:
    return [f"note: {notice['says']}" for notice in plan["stack"]["notices"]]


def _unwanted_lines(plan: Mapping[str, Any]) -> list[str]:
    return [
        f"{component} {name}: on the host, and not in the inventory any more; it stays until it is "
        "given there with state: absent"
        for component, names in plan["unwanted"].items()
        for name in names
    ]


def refusal_lines(refusal: Mapping[str, str]) -> list[str]:
    """Return the lines of one refusal, {what, because, remedy}."""
    return [f"{refusal['what']}: {refusal['because']}", f"    {refusal['remedy']}"]


def _hosts(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:_NAMED])
    more = "" if len(hosts) <= _NAMED else f" and {len(hosts) - _NAMED} more"
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'} ({shown}{more})"
