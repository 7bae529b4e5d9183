# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver that is to be there, as far as it is known before anything is installed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import module_types
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions

from ..inputs.wanted_stack import Driver
from .driver_there import DriverThere
from .host import Host
from .stack_catalog import StackCatalog

# The repository whose packages have NVIDIA's own sources.
_VENDORS = "cuda"


class DriverToBe:
    """The driver as it is wanted; where none is, the one that stays.

    :param driver: what is wanted of it, None where it is not ours.
    :param is_guest: whether it is for a virtual GPU.
    :param there: the one that the host has.
    :param known: the catalog.
    """

    def __init__(
        self,
        driver: Driver | None,
        is_guest: bool,
        host: Host,
        there: DriverThere,
        known: StackCatalog,
    ) -> None:
        self._driver = driver
        self._is_guest = is_guest
        self._host = host
        self._there = there
        self._known = known

    @cached_property
    def branch(self) -> str:
        """The branch that is wanted, else the one that is there."""
        there = versions.branch(self._there.installed or self._there.loaded)
        return self._driver["branch"] if self._driver else there

    @cached_property
    def version(self) -> str:
        """The wanted version as far as it is said: a whole one, or a branch; else what is there."""
        if not self._driver:
            return self._there.installed or self._there.loaded
        return self._driver["version"] or self.branch

    @cached_property
    def branch_row(self) -> dict[str, Any] | None:
        """The catalog's row of that branch, None where it is not known."""
        return self._known.branches.get(self.branch)

    @cached_property
    def package_row(self) -> dict[str, Any] | None:
        """The catalog's row of the packages that bring the wanted branch, None without one."""
        repository = self._driver["repository"] if self._driver else ""
        return self._known.packages(self._host.distribution, self.branch, repository)

    @cached_property
    def module_type(self) -> str:
        """'open' or 'proprietary': as said, as the GPUs require, as it is there, as is usual."""
        said = self._driver["modules"] if self._driver else "auto"
        offered = self.branch_row["module_types"] if self.branch_row else []
        return module_types.of_host(
            self._host.facts, said, self._known.architectures, self._is_guest, offered, self.branch
        )

    @cached_property
    def not_open(self) -> list[str]:
        """The names of the architectures that open modules do not drive on this host."""
        known = self._known.architectures
        return module_types.not_open(self._host.architectures, known, self._is_guest)

    def may_be_open(self, kind: str) -> bool:
        """Say whether open modules are a way out of a limit of one kind."""
        row = self.branch_row or {}
        return kind == "proprietary" and "open" in row.get("module_types", []) and not self.not_open

    @cached_property
    def has_vendor_tree(self) -> bool:
        """Whether its modules are built of NVIDIA's own sources, which nobody patched."""
        if not self._driver:
            return False
        row = self.package_row or {}
        return self._driver["method"] == "runfile" or row.get("repository") == _VENDORS

    @cached_property
    def may_be_prebuilt(self) -> bool:
        """Whether the distribution may have built and signed the wanted modules for this host."""
        is_packaged = self._driver is not None and self._driver["method"] == "package"
        row = (self.package_row if is_packaged else None) or {}
        return self.module_type in row.get("prebuilt", {})

    @cached_property
    def is_prebuilt(self) -> bool:
        """Whether those are taken: the host has such ones, or would load no others."""
        return self.may_be_prebuilt and (self._there.has_prebuilt or self._host.lacks_key)

    @cached_property
    def to_be_built_for(self) -> list[facts_shape.Kernel]:
        """The kernels that modules would be built for; none of those that have them."""
        if not self._driver or self.is_prebuilt:
            return []
        wanted = self._driver["version"]
        releases = [row["release"] for row in self._host.kernels]
        rows = {release: self._there.modules_for(release) for release in releases}
        found = {
            release: row["nvidia"]["version"] for release, row in rows.items() if "nvidia" in row
        }
        there = {
            release
            for release, version in found.items()
            if (version == wanted if wanted else versions.branch(version) == self.branch)
        }
        return [kernel for kernel in self._host.kernels if kernel["release"] not in there]

    @cached_property
    def kernel_limits(self) -> list[Mapping[str, Any]]:
        """The catalog's limits that hold for the wanted release and kind of modules."""
        # Of packages the newest release is taken, which is not known beforehand.
        version = (self._driver["version"] if self._driver else "") or f"{self.branch}.999"
        return [
            limit
            for limit in (self.branch_row or {}).get("kernel_limits", [])
            if limit.get("modules", self.module_type) == self.module_type
            and not versions.is_below(limit.get("until", version), version)
        ]

    @cached_property
    def kernel_tested(self) -> Mapping[str, str]:
        """{line of kernels: the newest that what is wanted is known to build for}."""
        row = (self.branch_row if self.has_vendor_tree else self.package_row) or {}
        return cast(Mapping[str, str], row.get("kernel_tested", {}))
