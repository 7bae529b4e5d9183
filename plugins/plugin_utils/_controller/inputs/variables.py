# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Variables that nobody reads: Ansible ignores a misspelt one, an operator does not."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# Close enough to be the same word with a slip of the finger ("gunicron_app_list").
_ALIKE = 0.85


def unknown(names: Iterable[str], known: Collection[str], prefixes: Iterable[str]) -> list[Refusal]:
    """Return a Refusal for each variable that looks like one of ours and is none.

    :param names: the variables of a host.
    :param known: the variables that roles read.
    :param prefixes: what our variables begin with ("conda_env", "gpunode", ...).
    """
    ours = tuple(f"{prefix}_" for prefix in prefixes)
    refusals = []
    for name in sorted(set(names) - set(known)):
        if name.startswith(("_", "ansible_")):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
        if nearest or name.startswith(ours):
            nearest = nearest or difflib.get_close_matches(name, known, n=1, cutoff=0)
            refusals.append(
                Refusal(
                    f"variable {name}",
                    "no role reads it",
                    f"Did you mean {nearest[0]}? Correct it in the inventory or remove it",
                )
            )
    return refusals
