# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's os-release says, as os-release(5) has it."""

from __future__ import annotations

import shlex

from .root import Root

_PATHS = ("/etc/os-release", "/usr/lib/os-release")


def read(tree: Root) -> dict[str, str]:
    """Return {name: value}; a line that is no assignment of one word says nothing."""
    said = {}
    for line in next(filter(None, map(tree.lines, _PATHS)), []):
        name, equals, quoted = line.strip().partition("=")
        try:
            words = shlex.split(quoted, comments=True)
        except ValueError:
            continue
        if equals and len(words) < 2 and not name.startswith("#"):
            said[name] = "".join(words)
    return said


def lineage(said: dict[str, str]) -> list[str]:
    """Return the ids of a distribution and of those that it is like, its own first."""
    own = said.get("ID") or "linux"
    return [own.lower(), *said.get("ID_LIKE", "").lower().split()]
