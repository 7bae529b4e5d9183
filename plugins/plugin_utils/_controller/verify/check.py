# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a check is: what it wants, where it looks, and what its result may say."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypedDict

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from .. import project
from ..plan.host_plan import Wishes
from ..stack.case import Case
from ..stack.due import Due

#: How grave it is where a check fails, the gravest first. A warning fails no run.
SEVERITIES = {
    "critical": "what computes or serves on the host is at risk, or does not work now",
    "error": "the host is not as wanted, and may not be after its next boot",
    "warning": "it works as it is, and somebody should see to it; a run does not fail for it",
}
CRITICAL, ERROR, WARNING = SEVERITIES
#: What is to be done where a check fails, for programs: what interrupts least comes first.
ACTIONS = {
    "none": "nothing on the host: the remedy says what somebody is to look at",
    "converge": "run site.yml on the host, which brings what is wanted",
    "reload": "have systemd read its units again",
    "restart_service": "start, or start anew, the unit that is named",
    "reset_gpu": "reset the GPU, or reboot the host",
    "reboot": "reboot the host",
    "replace": "have the part replaced",
    "call_vendor": "ask the vendor, with what was seen",
}
#: How a check can end.
OUTCOMES = {
    "passed": "it is as wanted",
    "failed": "it is not",
    "not_provable": "this host cannot show it; because says why",
    "waived": "it is not, and somebody has said until when that is accepted",
}
PASSED, FAILED, NOT_PROVABLE, WAIVED = OUTCOMES


class Found(NamedTuple):
    """Something that is not as wanted.

    :ivar seen: what was seen, with what it was seen of.
    :ivar remedy: what to do about it, see :func:`filled`; '' where the check says that for all it
        finds.
    :ivar of: what the remedy is about, as the host calls it.
    :ivar action: one of ACTIONS; '' likewise.
    """

    seen: str
    remedy: str = ""
    action: str = ""
    of: str = ""


@dataclasses.dataclass(frozen=True)
class Host:
    """A host that was looked at, and what is wanted of it.

    :ivar asked: what its variables ask for.
    :ivar facts: of node_info.
    :ivar plan: its plan, as the module ``plan`` returns it.
    :ivar case: its GPU stack.
    :ivar due: {component of the GPU stack: {rule: [sentence]}}, whatever is refused or waits.
    :ivar ended: a sentence for each waiver that has ended.
    """

    asked: Wishes
    facts: facts_shape.Facts
    plan: Mapping[str, Any]
    case: Case
    due: Due
    ended: list[str]

    def receipt(self, component: str) -> facts_shape.Receipt | None:
        """Return what a component left there, None for nothing."""
        return self.facts["receipts"].get(component)

    def waits(self, component: str) -> list[str]:
        """Return the consents that a component's step waits for."""
        steps = [row for row in self.plan["stack"]["steps"] if row["component"] == component]
        return [name for row in steps for name in row["waits"]]


class Look(Protocol):
    """Where a check looks; the ones that several have are in looks.py."""

    def found(self, host: Host) -> Iterable[Found]:
        """Return what is not as wanted."""

    def blind(self, host: Host) -> str:
        """Return why this host cannot show it, '' where it can."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    :ivar id: its name, 'subject.what'; it stays when words are changed.
    :ivar wanted: what is wanted, a sentence.
    :ivar severity: one of SEVERITIES.
    :ivar action: one of ACTIONS, where what was found does not say another one.
    :ivar remedy: what to do, likewise, in words; see :func:`filled`.
    :ivar looks: where it looks.
    :ivar applies: whether it is about a host at all; else it has no result there.
    :ivar elsewhere: where it is proven instead, of one that may be not provable on a host.
    :ivar source: whose rule it is, where it is not ours.
    """

    id: str
    wanted: str
    severity: str
    action: str
    remedy: str
    looks: tuple[Look, ...]
    applies: Callable[[Host], bool] = lambda _host: True
    elsewhere: str = ""
    source: str = ""

    @property
    def subject(self) -> str:
        """What it is about, such as driver."""
        return self.id.partition(".")[0]


#: How hosts say what remedies speak of, by their package manager.
WORDS = {
    "apt": {"clean": "apt-get clean", "install": "apt-get install"},
    "dnf": {"clean": "dnf clean all", "install": "dnf install"},
}


def filled(text: str, pkg_mgr: str, of: str = "") -> str:
    """Return the words of a remedy with what stands for {name}s in it.

    What a host says is put in last, and nothing is looked for in it.

    :param pkg_mgr: the host's; where none is known to us, words are those of apt.
    :param of: what the remedy is about, which stands for {of}, as a shell takes it.
    """
    said = WORDS.get(pkg_mgr, WORDS["apt"])
    ours = {
        "site": project.command("site"),
        "plan": project.command("plan"),
        "driver_page": project.page("docs/driver.md"),
    }
    for name, word in {**said, **ours}.items():
        text = text.replace(f"{{{name}}}", word)
    return text.replace("{of}", shlex.quote(of))


class Finding(TypedDict):
    """Something that is not as wanted, in a result."""

    seen: str
    remedy: str
    action: str


class Waived(TypedDict):
    """Why and until which day a check is waived."""

    reason: str
    until: str


class Result(TypedDict):
    """How a check ended on a host; docs/verify.schema.json has the same."""

    check: str
    severity: str
    outcome: str
    wanted: str
    because: str
    findings: list[Finding]
    waiver: Waived | None
