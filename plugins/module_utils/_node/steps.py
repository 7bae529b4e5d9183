# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a component does on a host: steps, in order, and what came of them.

The sentences of steps are the same in check mode as in the run that follows. An action that finds
its work done, by a package's script or by a run that was killed, does nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, NamedTuple


class Step(NamedTuple):
    """One thing to do: the sentence that people are told, and what does it."""

    sentence: str
    action: Callable[[], object]


@dataclasses.dataclass
class Result:
    """What came of the work on a component, or in check mode what would.

    :ivar changes: a sentence for each thing changed.
    :ivar diff: the differences of what changed, see :func:`diff`.
    :ivar manifest: what is in place, as entries of records/manifest.py.
    :ivar needs: the names of files that the host lacks and that nobody but the controller has;
        where there are any, nothing was changed.
    :ivar warnings: what went wrong beside the work, which came to its end all the same.
    """

    changes: list[str] = dataclasses.field(default_factory=list)
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)
    manifest: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    needs: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def run(steps: list[Step]) -> None:
    """Do what is to be done, in order.

    :raises Refusal, OSError: as the actions do; what follows was not begun then.
    """
    for step in steps:
        step.action()


def sentences(steps: list[Step]) -> list[str]:
    """Return what people are told of some steps."""
    return [step.sentence for step in steps]


def together(told: list[str], action: Callable[[], object]) -> list[Step]:
    """Return the steps of one action that does several things, each told by its sentence."""
    return [Step(told[0], action), *(Step(says, _done_before) for says in told[1:])]


def _done_before() -> None:
    """Do nothing: the first step of those that belong together did it."""


#: What a difference has, as Ansible shows it: two texts, and what each is of.
CONTENTS, HEADERS = ("before", "after"), ("before_header", "after_header")


def diff(
    path: str, before: str | None, after: str | None, after_path: str | None = None
) -> dict[str, str]:
    """Return a difference as Ansible shows it.

    :param path: what it is of.
    :param before: a text, None where there was none.
    :param after: a text, None where there is to be none.
    :param after_path: what it is of afterwards, where that is another one.
    """
    return {
        "before_header": path,
        "before": before or "",
        "after_header": after_path or path,
        "after": after or "",
    }
