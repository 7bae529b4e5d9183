# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's plans as text that is read in seconds: alike hosts share a paragraph."""

from __future__ import annotations

import json

_NAMED = 8


def fleet_status(plans):
    """Return 'refused', 'changes' or 'converged': the gravest status among the hosts."""
    found = {plan["status"] for plan in plans.values()}
    return next((status for status in ("refused", "changes") if status in found), "converged")


def as_document(plans, unreachable):
    """Return the content of plan.json: the fleet's status and every host's plan."""
    return {"status": fleet_status(plans), "unreachable": sorted(unreachable), "hosts": plans}


def as_text(plans, unreachable):
    """Return the plans for people.

    :param plans: {host: plan}.
    :param unreachable: hosts that did not answer.
    """
    paragraphs = [_paragraph(hosts, plans) for hosts in _alike(plans)]
    if unreachable:
        paragraphs.append(f"{_hosts(sorted(unreachable))}: not reached, left out")
    return "\n".join(paragraphs)


def _alike(plans):
    """Return lists of hosts whose plans are the same but for their address, the longest first."""
    groups = {}
    for host in sorted(plans):
        same = {key: value for key, value in plans[host].items() if key != "address"}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(host)
    return sorted(groups.values(), key=lambda hosts: (-len(hosts), hosts))


def _paragraph(hosts, plans):
    plan = plans[hosts[0]]
    named = [_named(host, plans[host]["address"]) for host in hosts]
    return "\n".join(
        [
            f"{_hosts(named)}: {_SENTENCES[plan['status']]}",
            *(f"    {line}" for line in [*_lines(plan), *_unwanted_lines(plan)]),
        ]
    )


def _named(host, address):
    return host if address in ("", host) else f"{host} at {address}"


_SENTENCES = {
    "converged": "converged, nothing to do",
    "changes": "to be changed",
    "refused": "refused, nothing was touched",
}


def _lines(plan):
    if plan["status"] == "refused":
        return [line for refusal in plan["refusals"] for line in _refusal_lines(refusal)]
    if plan["status"] == "converged":
        return [item["says"] for items in plan["wanted"].values() for item in items]
    return [
        f"{name}: {reason}"
        for name, component in plan["components"].items()
        if component["due"]
        for reason in component["why"]
    ]


def _unwanted_lines(plan):
    return [
        f"{component} {name}: on the host, and not in the inventory any more; it stays until it is "
        "given there with state: absent"
        for component, names in plan["unwanted"].items()
        for name in names
    ]


def _refusal_lines(refusal):
    return [f"{refusal['what']}: {refusal['because']}", f"    {refusal['remedy']}"]


def _hosts(hosts):
    shown = ", ".join(hosts[:_NAMED])
    more = "" if len(hosts) <= _NAMED else f" and {len(hosts) - _NAMED} more"
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'} ({shown}{more})"
