# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which known name somebody meant who misspelt it: a slip or two of the finger, and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# As many slips as a name of that length may have and still be told: one in four letters.
_LETTERS_PER_SLIP, _MOST_SLIPS, _SHORTEST = 4, 2, 3


def of(name: str, known: Iterable[str]) -> str:
    """Return the known name that another one is a near miss of, '' where it is of none."""
    slips = {}
    # A plan asks for each variable of each host, with the names of all roles' options.
    for each in [each for each in known if abs(len(name) - len(each)) <= _MOST_SLIPS]:
        pair, bearable = (name.lower(), each.lower()), _bearable(name, each)
        if _fewest_slips(*pair) <= bearable and _slips(*pair) <= bearable:
            slips[each] = _slips(*pair)
    return min(slips, key=lambda each: (slips[each], each), default="")


def remedy(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the question whether the known name was meant that is nearest.

    :param otherwise: what to do where none is near.
    """
    nearest = of(name, known)
    return f"Did you mean {nearest}?" if nearest else otherwise


def _bearable(one: str, other: str) -> int:
    length = max(len(one), len(other))
    if length < _SHORTEST:
        return 0
    return min(_MOST_SLIPS, max(1, length // _LETTERS_PER_SLIP))


def _fewest_slips(one: str, other: str) -> int:
    """Return how many slips there are at least: so many letters of the longer the other lacks."""
    common = Counter(one) & Counter(other)
    return max(len(one), len(other)) - sum(common.values())


def _slips(one: str, other: str) -> int:
    """Return how many letters are wrong, lacking, too many, or changed places with the next one.

    Known as the optimal string alignment distance.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        last, before, row = before, row, [at]
        for to, wanted in enumerate(other, start=1):
            cost = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != wanted))
            if at > 1 and to > 1 and one[at - 2 : at] == wanted + other[to - 2]:
                cost = min(cost, last[to - 2] + 1)
            row.append(cost)
    return row[-1]
