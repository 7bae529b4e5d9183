# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Variables that nobody reads: Ansible ignores a misspelt one, an operator does not."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# What is never taken for one of ours: Ansible's, what only a role itself sets, and people's own.
_NEVER_OURS = ("_", "ansible_", "my_")
# What each host has beside those, docs.ansible.com, "Special Variables".
_OF_ANSIBLE = {
    *("environment", "group_names", "groups", "hostvars", "inventory_dir", "inventory_file"),
    *("inventory_hostname", "inventory_hostname_short", "omit", "play_hosts", "playbook_dir"),
    *("role_name", "role_names", "role_path", "role_uuid", "vars"),
}


def unknown(
    names: Iterable[str],
    known: Collection[str],
    prefixes: Iterable[str],
    own: Collection[str] = (),
) -> list[Refusal]:
    """Return a Refusal for each variable that looks like one of ours and is none.

    :param names: the variables of a host.
    :param known: the variables that roles read.
    :param prefixes: what our variables begin with ("conda_env", "gpunode", ...).
    :param own: those that people have said to be their own, or another role's.
    """
    ours = [f"{prefix}_" for prefix in prefixes]
    refusals = []
    for name in sorted(set(names).difference(known, own, _OF_ANSIBLE)):
        if name.startswith(_NEVER_OURS):
            continue
        prefix = next((prefix for prefix in ours if name.startswith(prefix)), "")
        nearest = _nearest(name, prefix, known)
        if nearest or prefix:
            meant = f"Did you mean {nearest}?" if nearest else "Correct it or remove it."
            own_place = "let its name begin with my_, or list it in gpunode_own_variables"
            remedy = f"{meant} If it is your own, {own_place}"
            refusals.append(Refusal(f"variable {name}", "no role reads it", remedy))
    return refusals


def _nearest(name: str, prefix: str, known: Iterable[str]) -> str:
    """Return the known variable that a name is a near miss of, '' where it is of none.

    Where the prefix is right, what follows it has to be near by itself: any two names of a role
    have its prefix in common.
    """
    rests = [each[len(prefix) :] for each in known if each.startswith(prefix)]
    nearest = near_miss.of(name[len(prefix) :], rests)
    return f"{prefix}{nearest}" if nearest else ""
