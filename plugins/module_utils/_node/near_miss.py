# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which known name somebody meant who misspelt it: a slip or two of the finger, and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# How many edits away a name of that length may be and still be told: one in four letters.
_LETTERS_PER_EDIT, _MOST_EDITS, _SHORTEST = 4, 2, 3


def of(name: str, known: Iterable[str]) -> str:
    """Return the known name that another one is a near miss of, '' where it is of none."""
    distances = {}
    # A plan asks for each variable of each host, with the names of all roles' options.
    for each in [each for each in known if abs(len(name) - len(each)) <= _MOST_EDITS]:
        pair, most = (name.lower(), each.lower()), _most(name, each)
        if _least_distance(*pair) <= most and _distance(*pair) <= most:
            distances[each] = _distance(*pair)
    return min(distances, key=lambda each: (distances[each], each), default="")


def remedy(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the question whether the known name was meant that is nearest.

    :param otherwise: what to do where none is near.
    """
    nearest = of(name, known)
    return f"Did you mean {nearest}?" if nearest else otherwise


def _most(one: str, other: str) -> int:
    """Return how far apart two names may be and still be taken for one."""
    length = max(len(one), len(other))
    if length < _SHORTEST:
        return 0
    return min(_MOST_EDITS, max(1, length // _LETTERS_PER_EDIT))


def _least_distance(one: str, other: str) -> int:
    """Return what their distance is at least: so many letters of the longer the other lacks."""
    common = Counter(one) & Counter(other)
    return max(len(one), len(other)) - sum(common.values())


def _distance(one: str, other: str) -> int:
    """Return the optimal string alignment distance of two names.

    It is how many letters are wrong, lacking, too many, or changed places with the next one.
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
