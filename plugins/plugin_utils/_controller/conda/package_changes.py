# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What changed between two sets of packages, for people."""

from __future__ import annotations

from collections.abc import Mapping


def sentences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return a line for each package that was added, removed or changed, each kind by name.

    :param before: {name: version, as people are to read it}.
    :param after: the same, later.
    """
    added = [f"added: {name} {after[name]}" for name in sorted(set(after) - set(before))]
    removed = [f"removed: {name} {before[name]}" for name in sorted(set(before) - set(after))]
    changed = [
        f"changed: {name} {before[name]} -> {after[name]}"
        for name in sorted(set(before) & set(after))
        if before[name] != after[name]
    ]
    return added + removed + changed
