# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the wanted driver comes to on one host, and what of it is there."""

from __future__ import annotations

from functools import cached_property

from ..gpu import architectures, module_types
from ..refusal import Refusal
from ..system import distribution


class Target:
    """The wanted driver, held against one host.

    :param wanted: what plugin_utils/_controller/components/nvidia_driver.py resolved.
    :param facts: general facts and those of gpu_host.survey.
    """

    def __init__(self, wanted, facts):
        self.wanted = wanted
        self.facts = facts

    @cached_property
    def module_type(self):
        """'open' or 'proprietary'."""
        found = {gpu["architecture"] for gpu in self.gpus}
        return module_types.module_type(
            self.wanted["modules"],
            [name for name in architectures.NAMES if name in found],
            self.wanted["architectures"],
            self.wanted["guest"],
            module_types.types_of(self.modules.values()),
            self.wanted["offered"] or module_types.TYPES,
            self.wanted["branch"],
        )

    @cached_property
    def demands(self):
        """(is_open, signed, rdma) of the modules; see kernel_modules.Modules."""
        has_rdma = self.facts["peer_memory"]["headers"] and self.wanted["peermem"]
        return self.module_type == "open", self.facts["secure_boot"]["enabled"], has_rdma

    @cached_property
    def gpus(self):
        """The GPUs that the host has for itself: none that it hands on to a guest."""
        return [gpu for gpu in self.facts["gpus"] if gpu["driver"] != "vfio-pci"]

    @cached_property
    def modules(self):
        """{release: row} of nvidia.ko on disk, for the kernels that are looked after."""
        looked_after = [row["release"] for row in [*self.kernels, *self.without_headers]]
        found = {}
        for row in self.facts["driver"]["modules"]:
            if row["name"] == "nvidia" and row["kernel"] in looked_after:
                found.setdefault(row["kernel"], row)
        return found

    @cached_property
    def kernels(self):
        """The kernels that modules can be built for."""
        return [row for row in self.facts["kernels"] if row["headers"]]

    @cached_property
    def without_headers(self):
        """The kernels that run or boot next, and lack what modules are built with."""
        return [
            row
            for row in self.facts["kernels"]
            if not row["headers"] and (row["running"] or row["next"])
        ]

    @cached_property
    def releases(self):
        """The releases of the kernels that modules can be built for."""
        return [row["release"] for row in self.kernels]

    @cached_property
    def package_row(self):
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
