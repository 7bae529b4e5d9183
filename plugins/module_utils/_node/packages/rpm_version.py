# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of packages, ordered as rpm orders them."""

from __future__ import annotations

import re

# What stands for a part of a version: '~' is older than the end of one, and '^' is younger; both
# are older than letters, and those than numbers (rpm 4.18, rpmio/rpmvercmp.c).
_Part = tuple[int, int, str]
_PART = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")
_TILDE, _END, _CARET, _LETTERS, _NUMBER = range(5)


def key(version: str) -> tuple[list[_Part], list[_Part], list[_Part]]:
    """Return what sorts versions as rpm does: '3:580.95.05-1.el9', with an epoch or without."""
    epoch, colon, rest = version.partition(":")
    upstream, _dash, release = (rest if colon else version).partition("-")
    return (_parts(epoch if colon else "0"), _parts(upstream), _parts(release))


def _parts(text: str) -> list[_Part]:
    return [*map(_part, _PART.findall(text)), (_END, 0, "")]


def _part(text: str) -> _Part:
    if text in "~^":
        return (_TILDE if text == "~" else _CARET, 0, "")
    if text.isdigit():
        digits = text.lstrip("0")
        return (_NUMBER, len(digits), digits)
    return (_LETTERS, 0, text)
