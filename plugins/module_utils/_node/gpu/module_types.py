# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kind of the driver's modules a host gets: decided alike by the plan and the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..facts_shape import GpuHost, Module
from ..packages import versions
from . import architectures, installed_driver, pci

TYPES = ("open", "proprietary")
# From the branch on that NVIDIA's installer itself takes the open modules where all GPUs can.
_OPEN_BY_DEFAULT = "560"


def of_host(
    facts: GpuHost,
    said: str,
    rows: Mapping[str, Mapping[str, Any]],
    is_guest: bool,
    offered: list[str],
    branch: str,
) -> str:
    """Return the :func:`module_type` of a host, by its own GPUs and what it has on disk.

    :param facts: those of gpu_host.survey.
    :param offered: the kinds that there are of the wanted branch, [] where that is not known.
    """
    return module_type(
        said,
        architectures.among(pci.own(facts["gpus"])),
        rows,
        is_guest,
        types_of(installed_driver.main_modules(facts).values()),
        offered or TYPES,
        branch,
    )


def module_type(
    said: str,
    names: Iterable[str],
    rows: Mapping[str, Mapping[str, Any]],
    is_guest: bool,
    installed: list[str],
    offered: Iterable[str],
    branch: str,
) -> str:
    """Return 'open' or 'proprietary': as said, as the GPUs require, as it is there, as is usual.

    :param said: the option: 'open', 'proprietary' or 'auto'.
    :param names: the architectures among the host's GPUs.
    :param rows: {name: {open_modules, open_guest}} of the catalog's architectures.
    :param is_guest: whether it is the driver of a guest with a virtual GPU.
    :param installed: the kinds of modules that are on disk.
    :param offered: the kinds that there are of the wanted branch.
    :param branch: that branch, '' where none is known.
    """
    if said in TYPES:
        return said
    if not_open(names, rows, is_guest):
        return "proprietary"
    if that(names, rows, "required"):
        return "open"
    if len(installed) == 1 and installed[0] in offered:
        return installed[0]
    is_usual = bool(branch) and not versions.is_below(branch, _OPEN_BY_DEFAULT)
    return "open" if is_usual else "proprietary"


def that(
    names: Iterable[str], rows: Mapping[str, Mapping[str, Any]], open_modules: str
) -> list[str]:
    """Return those architectures to which open modules are 'never', 'possible' or 'required'."""
    return [name for name in names if name in rows and rows[name]["open_modules"] == open_modules]


def not_open(
    names: Iterable[str], rows: Mapping[str, Mapping[str, Any]], is_guest: bool
) -> list[str]:
    """Return the names of those architectures that open modules do not drive."""
    never = that(names, rows, "never")
    return [
        name
        for name in names
        if name in never or (is_guest and name in rows and not rows[name]["open_guest"])
    ]


def types_of(modules: Iterable[Module]) -> list[str]:
    """Return the kinds of some modules, rows of installed_driver.modules."""
    return sorted({"open" if row["open"] else "proprietary" for row in modules})
