# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Receipts: what a role leaves behind, after its proof, to say that it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..facts_shape import Receipt
from ..system import commands, files, own_paths
from ..system.commands import Run
from . import manifest

SCHEMA = 2


def path_of(component: str, state_dir: str = own_paths.STATE_DIR) -> str:
    """Return where a component's receipt lies."""
    return os.path.join(state_dir, f"{component}.json")


def read(component: str, state_dir: str = own_paths.STATE_DIR) -> dict[str, Any] | None:
    """Return a component's receipt, or None where there is no readable one of this schema.

    A receipt that cannot be read, or that others could have written, counts as none: the component
    is then due, looks at the host for itself, and writes a good one.
    """
    path = path_of(component, state_dir)
    try:
        receipt = files.read_json(path) if files.is_own(path) else None
    except (OSError, ValueError):
        return None
    return receipt if _is_sound(receipt) else None


def _is_sound(receipt: object) -> bool:
    """Say whether what a file holds is a receipt of this schema, whoever wrote it."""
    if not isinstance(receipt, dict) or receipt.get("schema") != SCHEMA:
        return False
    names = receipt.get("names")
    return (
        isinstance(receipt.get("digest"), str)
        and manifest.is_sound(receipt.get("manifest"))
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
    )


def write(
    component: str,
    digest: str,
    entries: Sequence[Mapping[str, Any]],
    names: Iterable[str] = (),
    state_dir: str = own_paths.STATE_DIR,
    asked: Mapping[str, str] | None = None,
) -> None:
    """Write a component's receipt atomically, readable by root alone.

    :param digest: the digest of what was asked for.
    :param entries: the manifest of what was placed (see manifest.py).
    :param names: the names of the things that were placed and not removed since, whether they
        are still asked for or not.
    :param asked: {part of what was asked for: short digest}, for people to hear which is another.
    """
    os.makedirs(state_dir, mode=0o755, exist_ok=True)
    receipt = {
        "schema": SCHEMA,
        "component": component,
        "digest": digest,
        "manifest": entries,
        "names": sorted(names),
        "asked": dict(asked or {}),
    }
    text = json.dumps(receipt, indent=1, sort_keys=True) + "\n"
    files.write_text(path_of(component, state_dir), text, mode=0o600)


def settle(
    component: str,
    digest: str,
    entries: Sequence[Mapping[str, Any]],
    present: Iterable[str],
    absent: Iterable[str],
    check_mode: bool,
    state_dir: str = own_paths.STATE_DIR,
    asked: Mapping[str, str] | None = None,
) -> bool:
    """Write a component's receipt unless one says the same; return whether it was due.

    :param present: the names of the things that are in place.
    :param absent: the names of those that were removed. All others that were ever placed stay in
        the receipt, so that the plan can name those that nobody asks for any more.
    :param check_mode: only say whether it is due.
    :param asked: see :func:`write`.
    """
    found = read(component, state_dir) or {"names": []}
    names = sorted({*present, *found["names"]}.difference(absent))
    wanted = {"digest": digest, "manifest": entries, "names": names}
    # Where nothing of a component is, was or is to be, there is nothing to remember.
    is_empty = not (names or entries or "digest" in found)
    is_due = not is_empty and {key: found.get(key) for key in wanted} != wanted
    if is_due and not check_mode:
        write(component, digest, entries, names, state_dir, asked)
    return is_due


def paths(state_dir: str = own_paths.STATE_DIR) -> Iterator[str]:
    """Yield the paths of what the receipts on the host say was placed."""
    for component in _components(state_dir):
        receipt = read(component, state_dir) or {"manifest": []}
        yield from (entry["path"] for entry in receipt["manifest"] if "path" in entry)


def survey(state_dir: str = own_paths.STATE_DIR, run: Run = commands.run) -> dict[str, Receipt]:
    """Return {component: {digest, drift, names, notes, asked}} for every receipt on the host.

    One that cannot be read counts as none, and is told.
    """
    found: dict[str, Receipt] = {}
    for component in _components(state_dir):
        receipt = read(component, state_dir)
        # Other notes that lie there say so.
        if receipt is None and not _is_note(path_of(component, state_dir)):
            path = path_of(component, state_dir)
            says = f"{path} is no receipt that can be read"
            drift = manifest.drifted("receipt", path, [says])
            found[component] = {"digest": "", "drift": drift, "names": [], "notes": [], "asked": {}}
        elif receipt is not None:
            found[component] = {
                "digest": receipt["digest"],
                "drift": manifest.drift(receipt["manifest"], run),
                "names": receipt["names"],
                "notes": manifest.notes(receipt["manifest"]),
                "asked": _texts(receipt.get("asked")),
            }
    return found


def _components(state_dir: str) -> list[str]:
    """Return the names of what may have a receipt, in order; other notes lie there as well."""
    names = sorted(os.listdir(state_dir)) if os.path.isdir(state_dir) else []
    return [name for name, ending in map(os.path.splitext, names) if ending == ".json"]


def _texts(value: object) -> dict[str, str]:
    """Return what a receipt says of the parts of what was asked for; {} of an earlier one."""
    found = value if isinstance(value, dict) else {}
    return {str(part): str(digest) for part, digest in found.items()}


def _is_note(path: str) -> bool:
    """Say whether what lies at a path is whole, and no receipt of this schema or an earlier one."""
    try:
        content = files.read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "manifest" not in content
