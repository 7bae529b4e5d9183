# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts of others, shown so that no terminal obeys them."""

from __future__ import annotations

import re

# What a terminal obeys: C0 but for tabs and line ends, DEL, C1, the other ends of lines of Unicode,
# and what turns the direction of writing ("Trojan Source", CVE-2021-42574); lone surrogates cannot
# be written at all.
_OBEYED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def without_orders(text: str) -> str:
    """Return a text without the characters that a terminal obeys, which are spelled out."""
    # As nearly all are, and none of those characters is.
    return text if text.isprintable() else _OBEYED.sub(_spelled, text)


def one_line(text: str) -> str:
    """Return the same of a text whose line ends are spelled out as well."""
    return without_orders(text).replace("\n", "\\n")


def _spelled(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode()
