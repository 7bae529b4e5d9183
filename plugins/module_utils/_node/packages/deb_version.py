# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of packages and kernels, ordered as dpkg orders them."""

from __future__ import annotations

import re

_PRE_RELEASE = re.compile(r"[._-](pre|rc|test|git|old|trunk)")
_PART = re.compile(r"([^0-9]*)([0-9]*)")
# In turn: the weights of characters that are no digits, and a number.
_Parts = list[tuple[list[int], tuple[int, str]]]


def key(version: str) -> tuple[tuple[int, str], _Parts, _Parts]:
    """Return what sorts versions as `dpkg --compare-versions` does, deb-version(7)."""
    epoch, colon, rest = version.partition(":")
    upstream, _dash, revision = (rest if colon else version).rpartition("-")
    if not upstream:
        upstream, revision = revision, ""
    return (_number(epoch if colon else ""), _parts(upstream), _parts(revision))


def kernel_key(release: str) -> _Parts:
    """Return what sorts kernels by their release, the one that GRUB puts first being the greatest.

    grub-mkconfig_lib, version_test_gt(): a release candidate is older than the release.
    """
    return _parts(_PRE_RELEASE.sub(r"~\1", release))


def _parts(text: str) -> _Parts:
    """Return the parts in turn: what is no digit, by its characters, and then a number.

    The end is empty, since it sorts before letters and after '~', and twice so, since it is the
    same as a zero that stands alone.
    """
    parts = [([*map(_weight, other), 0], _number(digits)) for other, digits in _PART.findall(text)]
    empty = parts[-1]
    while parts and parts[-1] == empty:
        parts.pop()
    return [*parts, empty, empty]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) + (0 if character.isascii() and character.isalpha() else 0x110000)


def _number(digits: str) -> tuple[int, str]:
    """Return what sorts numbers written in digits, however many there are."""
    digits = digits.lstrip("0")
    return len(digits), digits
