# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the facts tell of a host's GPUs, its kernels and its distribution."""

from __future__ import annotations

from functools import cached_property

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    architectures as gpu_architectures,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import clients as gpu_clients
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import faults as gpu_faults
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    module_types,
    pci,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import kernels, secure_boot
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import distribution

from .stack_catalog import StackCatalog

# NVIDIA's catalog of Xids: VGPU_START_ERROR.
_VGPU_START_ERROR = 78


class Host:
    """A host as it is, whatever is wanted of it.

    :param facts: of node_info, completed.
    :param known: the catalog.
    """

    def __init__(self, facts: facts_shape.Facts, known: StackCatalog) -> None:
        self.facts = facts
        self._architectures = known.architectures

    @cached_property
    def distribution(self) -> str:
        """The distribution as the catalog names it: 'Debian 12', 'Ubuntu 22.04', 'RedHat 9'."""
        return distribution.catalog_name(self.facts)

    @cached_property
    def gpus(self) -> dict[str, str]:
        """{address: architecture} of the GPUs whose architecture is known."""
        return {gpu["address"]: gpu["architecture"] for gpu in self.own_gpus if gpu["architecture"]}

    @cached_property
    def own_gpus(self) -> list[facts_shape.Gpu]:
        """The GPUs that the host has for itself: none that it hands on to a guest."""
        return pci.own(self.facts["gpus"])

    @cached_property
    def architectures(self) -> list[str]:
        """The names of the architectures among the GPUs, oldest first."""
        return gpu_architectures.among(self.own_gpus)

    def architectures_that(self, open_modules: str) -> list[str]:
        """Return those architectures to which open modules are 'never', 'possible', 'required'."""
        return module_types.that(self.architectures, self._architectures, open_modules)

    @cached_property
    def is_vgpu(self) -> bool:
        """Whether the driver itself says that a GPU here is a virtual one.

        The one of data centres takes a guest with a virtual GPU for its host, and drives nothing.
        """
        told = [row["says"] for row in self.facts["gpu_faults"]]
        return any(gpu["mode"] == "vgpu" for gpu in self.facts["nvidia_smi"]["gpus"]) or (
            bool(self.facts["virtualization"]) and any("vGPU host system" in says for says in told)
        )

    @cached_property
    def rejected_by_host(self) -> str:
        """The driver's words on that the host's vGPU manager turned the guest away, '' for none."""
        told = [
            row["says"]
            for row in self.facts["gpu_faults"]
            if row["xid"] == _VGPU_START_ERROR or gpu_faults.GUEST_REJECTED in row["says"]
        ]
        return told[0] if told and self.facts["virtualization"] else ""

    @cached_property
    def clients(self) -> list[facts_shape.GpuClient]:
        """Those who work on a GPU: neither the driver's own daemons nor who only watches."""
        return gpu_clients.at_work(self.facts["gpu_clients"])

    @cached_property
    def kernels(self) -> list[facts_shape.Kernel]:
        """The kernels that are to have the driver: running, next to boot, and all with headers."""
        return kernels.served(self.facts["kernels"])

    @cached_property
    def targets(self) -> list[facts_shape.Kernel]:
        """Those of them that the host runs or will run; where none does, as in an image, all."""
        return kernels.in_service(self.facts["kernels"])

    @cached_property
    def lacks_key(self) -> bool:
        """Whether the firmware would not let modules load that are built here."""
        return secure_boot.lacks_key(self.facts["secure_boot"])
