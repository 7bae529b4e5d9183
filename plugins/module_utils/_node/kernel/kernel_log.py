# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel logged since the host started.

The journal is asked first: the kernel's own log is a ring in which a chatty host has overwritten
what was said last week. It is asked for some lines alone, and for the last of them, since a broken
device can fill a disk. Where it has none of them, or there is no journal, dmesg has what is left.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..system.root import Root

_LINES = 2000


class Told(NamedTuple):
    """What the log has of some words.

    :ivar lines: the lines that have them, the oldest first.
    :ivar known: whether there is a log to be read; without one, no lines mean nothing.
    """

    lines: list[str]
    known: bool


def told(tree: Root, words: str) -> Told:
    """Return what the log has of some words.

    :param words: a regular expression that Python and PCRE read alike.
    """
    asked = ("journalctl", "--dmesg", "--boot", f"--grep={words}", f"--lines={_LINES}")
    answer = tree.answer(*asked, "--output=cat", "--no-pager", "--quiet").splitlines()
    # With --grep and --lines, journalctl begins with the newest.
    found = _with(words, answer[::-1])
    if found:
        return Told(found, True)
    ring = tree.answer("dmesg", "--notime").splitlines()
    return Told(_with(words, ring), bool(ring))


def lines(tree: Root, words: str) -> list[str]:
    """Return the lines of :func:`told`."""
    return told(tree, words).lines


def _with(words: str, told: list[str]) -> list[str]:
    return [line for line in told if re.search(words, line)]
