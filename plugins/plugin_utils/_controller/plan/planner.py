# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done on one host, and why: facts and digests in, a plan out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs import asked

# What is done to a host as a whole, after the components that run in its kernel.
REBOOT = "reboot"


def plan(
    digests: Mapping[str, str],
    receipts: Mapping[str, Mapping[str, Any]],
    refusals: Collection[Refusal],
    stands_on: Mapping[str, Iterable[str]] | None = None,
    steps: Iterable[Mapping[str, Any]] = (),
    wishes: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the plan of one host.

    :param digests: {component: digest of what is wanted}, in the order of application.
    :param receipts: the ``receipts`` of node_info: {component: {digest, drift}}.
    :param refusals: list of Refusal: what cannot work on this host.
    :param stands_on: {component: those it runs from}; with one of them it is due as well.
    :param steps: what the state of the host makes necessary; see stack/plan.py.
    :param wishes: {component: digests of the parts of what is wanted}, see inputs/asked.py.
    :returns: {status, components: {name: {due, why, waits}}, refusals}. A component that
        ``waits`` for consents is not due until they are given. A refused host has no component
        that is due: nothing of it is touched.
    """
    if refusals:
        unique = {str(refusal): refusal.as_dict() for refusal in refusals}
        return {"status": "refused", "components": {}, "refusals": list(unique.values())}
    by_name = {step["component"]: step for step in steps}
    reasons: dict[str, list[str]] = {}
    for name, digest in digests.items():
        changing = [ground for ground in (stands_on or {}).get(name, ()) if reasons.get(ground)]
        parts = (wishes or {}).get(name, {})
        reasons[name] = _why(digest, receipts.get(name), by_name.get(name), parts) or [
            f"it runs from what {ground} is about to change" for ground in changing
        ]
    if REBOOT in by_name:
        # It leaves no receipt: that it is due follows from the host alone.
        reasons[REBOOT] = by_name[REBOOT]["why"]
    components = {name: _component(why, by_name.get(name)) for name, why in reasons.items()}
    return {
        "status": "changes" if any(reasons.values()) or by_name else "converged",
        "components": components,
        "refusals": [],
    }


def _component(why: list[str], step: Mapping[str, Any] | None) -> dict[str, Any]:
    waits = step["waits"] if step else []
    return {"due": bool(why) and not waits, "why": why, "waits": waits}


def _why(
    digest: str,
    receipt: Mapping[str, Any] | None,
    step: Mapping[str, Any] | None,
    parts: Mapping[str, str],
) -> list[str]:
    """Return why a component is due; what the host shows says more than a lacking receipt."""
    if not step:
        return why_due(digest, receipt, parts)
    return step["why"] + (_drift(receipt) if receipt else [])


def why_due(digest: str, receipt: Mapping[str, Any] | None, parts: Mapping[str, str]) -> list[str]:
    """Return the sentences that say why a component is due; [] when it is not.

    :param receipt: its receipt as node_info reports it, or None.
    :param parts: digests of the parts of what is wanted, see inputs/asked.py.
    """
    if receipt is None:
        return ["no receipt on the host"]
    if receipt["digest"] != digest:
        return asked.differences(receipt["asked"], parts) or [
            "something else is wanted than what the receipt names"
        ]
    return _drift(receipt)


def _drift(receipt: Mapping[str, Any]) -> list[str]:
    return [row["says"] for row in receipt["drift"]]


def unwanted(
    names: Mapping[str, Iterable[str]], receipts: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return {component: names of things} that gpunode placed and nobody asks for any more.

    :param names: {component: names of the things that the inventory speaks of, absent ones too}.
    :param receipts: the ``receipts`` of node_info, whose ``names`` are what was placed.
    """
    left = {
        component: sorted(set(receipt["names"]).difference(names.get(component, ())))
        for component, receipt in receipts.items()
    }
    return {component: found for component, found in left.items() if found}


def due(host_plan: Mapping[str, Any]) -> list[str]:
    """Return the names of the components that are due, in the order of their application."""
    return [name for name, component in host_plan["components"].items() if component["due"]]
