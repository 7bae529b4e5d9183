# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one way this project says no: what is wrong, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable, TypeVar

from . import terminal, urls

_Answer = TypeVar("_Answer")


class Refusal(Exception):
    """Something cannot be done as asked, and nothing was changed.

    Raised by pure functions and modules alike; the planner collects
    refusals of a whole fleet, a module turns its own into a failure. Whatever
    it quotes, of files, servers or programs, it shows without the secrets of addresses, and without
    what a terminal obeys.

    :param what: the thing refused, naming the offending value.
    :param because: the reason, as observed.
    :param remedy: what the reader should do next.
    :param rule: the name of the rule that says so, for programs; '' where it has none.
    """

    def __init__(self, what: str, because: str, remedy: str, rule: str = "") -> None:
        self.what, self.because, self.remedy = (
            terminal.without_orders(urls.shown(text)) for text in (what, because, remedy)
        )
        super().__init__(f"{self.what}: {self.because}. {self.remedy}")
        self.rule = rule

    def as_dict(self) -> dict[str, str]:
        """Return the refusal as the plain dict that plans and modules report."""
        return {
            "what": self.what,
            "because": self.because,
            "remedy": self.remedy,
            "rule": self.rule,
        }

    def each(self) -> list[Refusal]:
        """Return the refusals that this one stands for: itself alone."""
        return [self]


class Refusals(Refusal):
    """Several refusals at once, so that people hear of all that is wrong and not of the first."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self._each = [one for refusal in refusals for one in refusal.each()]
        first = self._each[0]
        super().__init__(first.what, first.because, first.remedy, first.rule)
        self.args = ("\n".join(map(str, self._each)),)

    def each(self) -> list[Refusal]:
        """Return the refusals that this one stands for."""
        return self._each


class Collected:
    """Asks one thing after another, and refuses at once all that was refused.

    :ivar refusals: what was, each text once.
    """

    def __init__(self, refusals: Iterable[Refusal] = ()) -> None:
        self.refusals: list[Refusal] = []
        for refusal in refusals:
            self._note(refusal)

    def ask(self, function: Callable[..., _Answer], *arguments: object) -> _Answer | None:
        """Return what a function answers, None where it raises a Refusal, which is noted."""
        try:
            return function(*arguments)
        except Refusal as refusal:
            self._note(refusal)
            return None

    def refuse(self) -> None:
        """Raise what was noted, if anything was.

        :raises Refusal: all of it, as Refusals where there are several.
        """
        if self.refusals:
            one, *others = self.refusals
            raise Refusals(self.refusals) if others else one

    def _note(self, refusal: Refusal) -> None:
        for one in refusal.each():
            if str(one) not in map(str, self.refusals):
                self.refusals.append(one)


def refuse(refusals: Iterable[Refusal]) -> None:
    """Raise some refusals, if there are any; see Collected."""
    Collected(refusals).refuse()
