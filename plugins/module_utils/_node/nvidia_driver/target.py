# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the wanted driver comes to on one host, and what of it is there."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

from ..facts_shape import Gpu, Kernel, Module, Surveyed
from ..gpu import installed_driver, module_types, pci
from ..kernel import secure_boot
from ..refusal import Refusal
from ..system import distribution
from .wanted import Present


class Demands(NamedTuple):
    """What is asked of the modules.

    :ivar is_open: whether they are to be the open ones.
    :ivar signed: whether they have to be signed, as the kernel demands.
    :ivar rdma: whether nvidia_peermem has to be linked to the RDMA core that is there, as it is
        when that was there first.
    """

    is_open: bool
    signed: bool
    rdma: bool


class Target:
    """The wanted driver, held against one host.

    :param wanted: the wanted state.
    :param facts: general facts and those of gpu_host.survey.
    """

    def __init__(self, wanted: Present, facts: Surveyed) -> None:
        self.wanted = wanted
        self.facts = facts

    @cached_property
    def module_type(self) -> str:
        """'open' or 'proprietary'."""
        return module_types.of_host(
            self.facts,
            self.wanted["modules"],
            self.wanted["architectures"],
            self.wanted["guest"],
            self.wanted["offered"],
            self.wanted["branch"],
        )

    @cached_property
    def demands(self) -> Demands:
        """What is asked of the wanted modules."""
        has_rdma = self.facts["peer_memory"]["headers"] and self.wanted["peermem"]
        is_open = self.module_type == "open"
        return Demands(is_open, secure_boot.needs_signature(self.facts["secure_boot"]), has_rdma)

    @cached_property
    def demands_before(self) -> Demands:
        """What is asked of those that come back: to be of the kind that they were."""
        return self.demands._replace(is_open=any(row["open"] for row in self.modules.values()))

    @cached_property
    def gpus(self) -> list[Gpu]:
        """The GPUs that the host has for itself: none that it hands on to a guest."""
        return pci.own(self.facts["gpus"])

    @cached_property
    def modules(self) -> dict[str, Module]:
        """{release: row} of nvidia.ko on disk, for the kernels that are looked after."""
        return installed_driver.main_modules(self.facts)

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The kernels that modules can be built for."""
        return [row for row in self.facts["kernels"] if row["headers"]]

    @cached_property
    def without_headers(self) -> list[Kernel]:
        """The kernels that run or boot next, and lack what modules are built with."""
        return [
            row
            for row in self.facts["kernels"]
            if not row["headers"] and (row["running"] or row["next"])
        ]

    @cached_property
    def releases(self) -> list[str]:
        """The releases of the kernels that modules can be built for."""
        return [row["release"] for row in self.kernels]

    @cached_property
    def package_row(self) -> dict[str, Any]:
        """The catalog's row of the packages that bring the branch to this distribution.

        :raises Refusal: there is none.
        """
        name = distribution.catalog_name(self.facts)
        row = self.wanted["packages"].get(name)
        if row is None or self.module_type not in row["packages"]:
            raise Refusal(
                f"driver branch {self.wanted['branch']}",
                f"no repository is known to have {self.module_type} modules of it for {name}",
                "Choose another stack, or name a .run file",
            )
        return row
