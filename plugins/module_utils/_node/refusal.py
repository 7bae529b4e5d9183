# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one way this project says no: what is wrong, why, and what to do about it."""

from __future__ import annotations

from . import urls


class Refusal(Exception):
    """Something cannot be done as asked, and nothing was changed.

    Raised by pure functions and modules alike; the planner collects
    refusals of a whole fleet, a module turns its own into a failure. Whatever
    it quotes, of files or of programs, it shows without the secrets of addresses.

    :param what: the thing refused, naming the offending value.
    :param because: the reason, as observed.
    :param remedy: what the reader should do next.
    :param rule: the name of the rule that says so, for programs; '' where it has none.
    """

    def __init__(self, what: str, because: str, remedy: str, rule: str = "") -> None:
        self.what, self.because, self.remedy = map(urls.shown, (what, because, remedy))
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
