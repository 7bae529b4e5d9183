# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kind of the driver's modules a host gets: decided alike by the plan and the node."""

from __future__ import annotations

from typing import Any

from ..packages import versions

TYPES = ("open", "proprietary")
# From the branch on that NVIDIA's installer itself takes the open modules where all GPUs can.
_OPEN_BY_DEFAULT = "560"


def module_type(said, architectures, rows, is_guest, installed, offered, branch):
    """Return 'open' or 'proprietary': as said, as the GPUs require, as it is there, as is usual.

    :param said: the option: 'open', 'proprietary' or 'auto'.
    :param architectures: the names of the architectures among the host's GPUs.
    :param rows: {name: {open_modules, open_guest}} of the catalog's architectures.
    :param is_guest: whether it is the driver of a guest with a virtual GPU.
    :param installed: the kinds of modules that are on disk.
    :param offered: the kinds that there are of the wanted branch.
    :param branch: that branch, '' where none is known.
    """
    if said in TYPES:
        return said
    if not_open(architectures, rows, is_guest):
        return "proprietary"
    if any(rows.get(name, {}).get("open_modules") == "required" for name in architectures):
        return "open"
    if len(installed) == 1 and installed[0] in offered:
        return installed[0]
    is_usual = bool(branch) and not versions.is_below(branch, _OPEN_BY_DEFAULT)
    return "open" if is_usual else "proprietary"


def that(architectures: list[str], rows: dict[str, dict[str, Any]], open_modules: str) -> list[str]:
    """Return those architectures to which open modules are 'never', 'possible' or 'required'."""
    return [
        name
        for name in architectures
        if name in rows and rows[name]["open_modules"] == open_modules
    ]


def not_open(architectures, rows, is_guest):
    """Return the names of those architectures that open modules do not drive."""
    return [
        name
        for name in architectures
        if name in rows
        and (rows[name]["open_modules"] == "never" or (is_guest and not rows[name]["open_guest"]))
    ]


def types_of(modules):
    """Return the kinds of some modules, rows of installed_driver.modules."""
    return sorted({"open" if row["open"] else "proprietary" for row in modules})
