# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages belong to the driver, whatever repository they are from."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..facts_shape import Surveyed

# Which row of the repositories says what belongs to a driver whose repository nobody knows.
_ARCHIVES = {"Debian": "debian", "Ubuntu": "ubuntu"}
# What brings a driver from repositories of Enterprise Linux that no driver is taken from here:
# ELRepo (kmod-nvidia, nvidia-x11-drv), RPM Fusion (akmod-nvidia, xorg-x11-drv-nvidia), negativo17
# and, in its time, NVIDIA's own (negativo17/nvidia-driver, nvidia-driver.spec; dkms-nvidia).
_OF_OTHERS = (
    *("kmod-nvidia", "nvidia-x11-drv*", "akmod-nvidia*", "xorg-x11-drv-nvidia*"),
    *("dkms-nvidia", "nvidia-driver-NVML", "nvidia-driver-NvFBCOpenGL"),
)


class Family(NamedTuple):
    """Patterns of the names of packages.

    :ivar versioned: of those with the driver's version.
    :ivar companions: of those with a version of their own.
    :ivar apart: of those that have one of their own in some repository, and work with drivers of
        other versions.
    :ivar modules: of those that bring modules for one kernel, in the kernel's version; they come
        and go with it.
    :ivar kinds: {kind of modules: of those that belong to it alone}; of several that fit a name
        the first decides.
    """

    versioned: list[str]
    companions: list[str]
    apart: list[str]
    modules: list[str]
    kinds: dict[str, list[str]]


def of(repositories: dict[str, Any], name: str) -> Family:
    """Return the Family, as seen from the repository that the driver is taken from.

    What has the driver's version in another repository counts as well, so that nothing of it
    comes in; but for what has a version of its own in this one.

    :param repositories: {name: row} of the catalog.
    """
    companions = repositories[name]["companions"]
    versioned = {
        pattern
        for row in repositories.values()
        for pattern in row["family"]
        if not _matches(pattern, companions)
    }
    apart = {pattern for row in repositories.values() for pattern in row["companions"]}
    row = repositories[name]
    return Family(
        sorted(versioned),
        list(companions),
        sorted(apart),
        row.get("modules", []),
        row.get("kinds", {}),
    )


def of_unknown(facts: Surveyed, repositories: dict[str, Any]) -> Family:
    """Return the Family of packages whose repository nobody knows, those of others among them.

    :param facts: the general facts.
    :param repositories: {name: row} of the catalog.
    """
    family = of(repositories, _ARCHIVES.get(facts["distribution"], "cuda"))
    return family._replace(versioned=[*family.versioned, *_OF_OTHERS])


def belongs(name: str, family: Family) -> bool:
    """Say whether a package belongs to the driver."""
    own = (family.versioned, family.companions, family.modules)
    return any(_matches(name, patterns) for patterns in own)


def is_versioned(name: str, family: Family) -> bool:
    """Say whether a package that belongs to the driver has its version."""
    return not _matches(name, family.companions) and not brings_modules(name, family)


def brings_modules(name: str, family: Family) -> bool:
    """Say whether a package brings modules that are built already, for one kernel."""
    return _matches(name, family.modules)


def is_bound(name: str, family: Family) -> bool:
    """Say whether a package of one driver has no place beside another one."""
    return is_versioned(name, family) and not _matches(name, family.apart)


def kind(name: str, family: Family) -> str:
    """Return the kind of modules that a package belongs to alone, '' where it serves either."""
    fitting = (of for of, patterns in family.kinds.items() if _matches(name, patterns))
    return next(fitting, "")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
