# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalog's rows about drivers, CUDA and RDMA, found by what they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions

from ..inputs import catalog


class StackCatalog:
    """Looks up rows; None where the catalog has none, which means that it is not known.

    :param rows: returns the rows of a list by its name, as catalog.rows does.
    """

    def __init__(self, rows: Callable[[str], list[dict[str, Any]]] = catalog.rows) -> None:
        self.stacks = {row["name"]: row for row in rows("stacks")}
        self.architectures = {row["name"]: row for row in rows("gpu_architectures")}
        self.branches = {row["branch"]: row for row in rows("driver_branches")}
        # {branch: its routes of peer memory}, newest first.
        self.routes = {name: row["peer_memory"] for name, row in self.branches.items()}
        self.vgpu = {row["release"]: row for row in rows("vgpu")}
        self.tags = {row["tag"]: row for row in rows("nv_peer_mem")}
        # {number: {action, is_fault}}, with driver_may_cure and remedy where these are said.
        actions = {row["action"]: row for row in rows("xid_actions")}
        self.xids = {int(row["xid"]): {**actions[row["action"]], **row} for row in rows("xids")}
        self._drivers = {(row["version"], row["flavour"]): row for row in rows("drivers")}
        self._packages = rows("driver_packages")
        # Enterprise Linux 7 takes .run files alone.
        self.distributions = {row["distribution"] for row in self._packages} | {"RedHat 7"}
        self._ofed = {row["version"]: row for row in rows("ofed")}
        self._cuda = {row["cuda"]: row for row in rows("cuda")}
        self._pytorch = {row["pytorch"]: row for row in rows("pytorch")}

    def driver(self, version: str, flavour: str) -> dict[str, Any] | None:
        """Return the row of a driver's release, 'tesla' or 'grid'."""
        return self._drivers.get((version, flavour))

    def packages(
        self, distribution: str, branch: str, repository: str = ""
    ) -> dict[str, Any] | None:
        """Return the row of the packages that bring a branch to a distribution ('Debian 12').

        :param repository: where they are to come from; '' for the first that has them.
        """
        return self.packages_of(branch, repository).get(distribution)

    def packages_of(self, branch: str, repository: str = "") -> dict[str, dict[str, Any]]:
        """Return {distribution: row} of the packages that bring a branch; see :meth:`packages`."""
        found = [
            row
            for row in self._packages
            if row["branch"] == branch and repository in ("", row["repository"])
        ]
        return {row["distribution"]: row for row in reversed(found)}

    def ofed(self, version: str) -> dict[str, Any] | None:
        """Return the row of an OFED release; without one, that of its series if all there agree."""
        series = versions.ofed_series(version)
        alike = [row for name, row in self._ofed.items() if versions.ofed_series(name) == series]
        agree = len({row["peer_client_ex"] for row in alike}) == 1
        return self._ofed.get(version) or (alike[0] if agree else None)

    def doca(self, version: str) -> dict[str, Any]:
        """Return the row of DOCA-OFED's series that a version is of, {} for none."""
        # Those of MLNX_OFED name a build.
        return self._ofed.get(versions.ofed_series(version), {})

    def cuda(self, version: str) -> dict[str, Any] | None:
        """Return the row of a CUDA release by its first two numbers ('12.4' of '12.4.1').

        One that is later than the catalog runs on what the others of its major version run on.
        """
        series = versions.series(version)
        newest = next(iter(self._cuda.values()))
        is_later = versions.is_below(newest["cuda"], series)
        is_same = versions.branch(newest["cuda"]) == versions.branch(series)
        return newest if is_later and is_same else self._cuda.get(series)

    def pytorch(self, version: str) -> dict[str, Any] | None:
        """Return the row of a PyTorch release by its first two numbers."""
        return self._pytorch.get(versions.series(version))


@functools.cache
def of_project() -> StackCatalog:
    """Return the catalog of this project."""
    return StackCatalog()
