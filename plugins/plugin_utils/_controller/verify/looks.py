# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where checks look: at what the plan finds due or notes, at receipts, and at what is not well.

Nothing is judged twice: what the plan says of a host is what a check says of it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from ..plan import planner
from ..stack import due as stack_due
from ..stack import health, notices
from .check import CRITICAL, ERROR, Check, Found, Host

NO_KERNEL = "this host has no kernel of its own (a container, a chroot or an image)"
ON_ITS_KERNEL = "on a host that boots a kernel of its own"
ONCE_CONVERGED = "once the component was brought and has left a receipt"


def never(_host: Host) -> str:
    """Return '': a look that each host can bear."""
    return ""


def without_kernel(host: Host) -> str:
    """Return why nothing that is loaded can be seen on a host."""
    return "" if host.facts["own_kernel"] else NO_KERNEL


def without_answer(host: Host) -> str:
    """Return why nothing can be seen that nvidia-smi tells."""
    if host.facts["nvidia_smi"]["answered"]:
        return ""
    return without_kernel(host) or "nvidia-smi does not answer"


def without_log(host: Host) -> str:
    """Return why nothing can be seen that the kernel logs."""
    unread = "the kernel's log cannot be read" if host.facts["faults_unknown"] else ""
    return without_kernel(host) or unread


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the plan finds due of a part of the GPU stack, by rules of stack/due.py."""

    component: str
    rules: tuple[str, ...]
    blind: Callable[[Host], str] = never

    def found(self, host: Host) -> Iterator[Found]:
        """Yield the plan's sentences; what waits for a consent names it."""
        waits = host.waits(self.component)
        remedy = f"Run {{site}} with gpunode_consent: [{', '.join(waits)}]" if waits else ""
        for rule in self.rules:
            yield from (Found(says, remedy) for says in host.due[self.component].get(rule, []))


@dataclasses.dataclass(frozen=True)
class Drift:
    """What differs from what a component's receipt names, by kinds of facts_shape.DRIFT_KINDS.

    :ivar paths: patterns of the paths, units or packages that it is about; all where none are.
    :ivar but: patterns of those that are another check's.
    """

    component: str
    kinds: tuple[str, ...]
    paths: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()

    def found(self, host: Host) -> Iterator[Found]:
        """Yield the receipt's sentences."""
        receipt = host.receipt(self.component)
        for row in receipt["drift"] if receipt else []:
            if self.is_about(row["kind"], row["of"]):
                yield Found(row["says"], _REMEDIES.get(row["kind"], ""), of=row["of"])

    def is_about(self, kind: str, of: str) -> bool:
        """Say whether a row of a receipt's drift is one of these."""
        return kind in self.kinds and _fits(of, self.paths) and not _fits(of, self.but)

    def blind(self, host: Host) -> str:
        """Return why nothing tells what was placed."""
        has_left = host.receipt(self.component) is not None
        return "" if has_left else f"{self.component} has left no receipt that says what it placed"


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


# What mends it at once, where that is less than a run.
_REMEDIES = {
    "unit-state": "Run systemctl start {of}, or {site}; journalctl --unit={of} says why it ended",
    "unit-boot": "Run systemctl enable {of}, or {site}",
    "unit-reload": "Run systemctl daemon-reload and systemctl restart {of}, or {site}",
    "unit-process": "Run systemctl restart {of}, or {site}",
    "unit-account": "Run systemctl restart {of}, or {site}",
    "package": "Run {install} {of}, or {site}",
}


@dataclasses.dataclass(frozen=True)
class Receipt:
    """Whether a component was brought as it is asked for now, and proven."""

    component: str
    blind: Callable[[Host], str] = never

    def found(self, host: Host) -> Iterator[Found]:
        """Yield what the plan says of a receipt that lacks or is for something else."""
        digest = host.asked.digests[self.component]
        receipt = host.receipt(self.component)
        # Of one that cannot be read there is nothing to compare, and its drift says so.
        is_unread = receipt and any(row["kind"] == "receipt" for row in receipt["drift"])
        if is_unread or (receipt and receipt["digest"] == digest):
            return
        parts = host.asked.asked.get(self.component, {})
        yield from map(Found, planner.why_due(digest, receipt, parts))


@dataclasses.dataclass(frozen=True)
class Health:
    """What is not well of GPUs, NVSwitches and the fabric, by kinds of stack/health.py."""

    kinds: tuple[str, ...]
    blind: Callable[[Host], str]

    def found(self, host: Host) -> Iterator[Found]:
        """Yield it with what is to be done, which the vendor says of each Xid."""
        for row in health.findings(host.case):
            if row.kind in self.kinds:
                yield Found(row.says, _sentence(row.cure.words), row.cure.action)


@dataclasses.dataclass(frozen=True)
class Notice:
    """What the plan notes, by rules of stack/notices.py."""

    rules: tuple[str, ...]
    blind: Callable[[Host], str] = never

    def found(self, host: Host) -> Iterator[Found]:
        """Yield the plan's sentences."""
        for rule in self.rules:
            yield from (Found(says) for says in notices.RULES[rule](host.case, host.due))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a function finds."""

    function: Callable[[Host], Iterable[Found]]
    blind: Callable[[Host], str] = never

    def found(self, host: Host) -> Iterable[Found]:
        """Return it."""
        return self.function(host)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def is_wanted(component: str) -> Callable[[Host], bool]:
    """Return what says whether a component is wanted of a host, or to be gone from it."""
    return lambda host: component in host.plan["wanted"]


def is_in_stack(component: str) -> Callable[[Host], bool]:
    """Return what says whether a part of the GPU stack is ours to look after on a host."""
    return lambda host: stack_due.applies(component, host.case)


def has_driver(host: Host) -> bool:
    """Say whether a driver is wanted on a host that has GPUs for itself."""
    return host.case.driver is not None


def brought(prefix: str, component: str, called: str) -> Check:
    """Return the check that a component was brought as it is asked for now.

    :param called: what it is, in words.
    """
    return Check(
        f"{prefix}.receipt",
        f"{called} was brought as it is asked for now, and proven.",
        ERROR,
        "converge",
        "Run {site}",
        (Receipt(component), Drift(component, ("receipt",))),
        is_wanted(component),
    )


def drifted(
    name: str,
    component: str,
    wanted: str,
    *kinds: str,
    severity: str = ERROR,
    action: str = "converge",
    remedy: str = "Run {site}, which puts it back",
    paths: tuple[str, ...] = ("*",),
    but: tuple[str, ...] = (),
) -> Check:
    """Return a check of what a component's receipt names."""
    return Check(
        name,
        wanted,
        severity,
        action,
        remedy,
        (Drift(component, kinds, paths, but),),
        is_wanted(component),
        ONCE_CONVERGED,
    )


#: Kinds of drift that are of a unit.
OF_UNITS = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind.startswith("unit-"))


def units(prefix: str, component: str, called: str) -> tuple[Check, ...]:
    """Return the checks of a component's units.

    :param called: whose units they are, in words.
    """
    return (
        drifted(
            f"{prefix}.running",
            component,
            f"The units of {called} are in the state that they were proven in.",
            "unit-state",
            severity=CRITICAL,
            action="restart_service",
        ),
        drifted(
            f"{prefix}.boot",
            component,
            f"The units of {called} start at boot.",
            "unit-boot",
        ),
        drifted(
            f"{prefix}.loaded_unit",
            component,
            f"systemd has read the units of {called} as they are on disk.",
            "unit-reload",
            action="reload",
        ),
        drifted(
            f"{prefix}.process",
            component,
            f"What runs was started from the units, files and user that {called} has now.",
            *("unit-process", "unit-account"),
            action="restart_service",
        ),
    )
