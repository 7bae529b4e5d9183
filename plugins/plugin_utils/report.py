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
    paragraphs = [_paragraph(hosts, plan) for hosts, plan in _alike(plans)]
    if unreachable:
        paragraphs.append(f"{_hosts(sorted(unreachable))}: not reached, left out")
    return "\n".join(paragraphs)


def _alike(plans):
    """Return [(hosts, plan)] with hosts of one plan together, most of them first."""
    groups = {}
    for host in sorted(plans):
        groups.setdefault(json.dumps(_shown(plans[host]), sort_keys=True), []).append(host)
    ordered = sorted(groups.values(), key=lambda hosts: (-len(hosts), hosts))
    return [(hosts, plans[hosts[0]]) for hosts in ordered]


def _shown(plan):
    return {key: value for key, value in plan.items() if key != "facts"}


def _paragraph(hosts, plan):
    head = f"{_hosts(hosts)}: {_SENTENCES[plan['status']]}"
    return "\n".join([head, *(f"    {line}" for line in _lines(plan))])


_SENTENCES = {
    "converged": "converged, nothing to do",
    "changes": "to be changed",
    "refused": "refused, nothing was touched",
}


def _lines(plan):
    if plan["status"] == "refused":
        return [line for refusal in plan["refusals"] for line in _refusal_lines(refusal)]
    if plan["status"] == "converged":
        return plan["runs"]
    return [
        f"{name}: {reason}"
        for name, component in plan["components"].items() if component["due"]
        for reason in component["why"]
    ]


def _refusal_lines(refusal):
    return [f"{refusal['what']}: {refusal['because']}", f"    {refusal['remedy']}"]


def _hosts(hosts):
    shown = ", ".join(hosts[:_NAMED])
    more = "" if len(hosts) <= _NAMED else f" and {len(hosts) - _NAMED} more"
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'} ({shown}{more})"
