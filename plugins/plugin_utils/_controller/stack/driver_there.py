# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver that is there: loaded, on disk, and the kernel's own for the same devices."""

from __future__ import annotations

import re
from functools import cached_property

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    beside_runfile,
    in_kernel_drivers,
    module_types,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions

from .host import Host

_PREBUILT = re.compile(r"linux-modules-nvidia-\d.*")
_VERSION = re.compile(r"(?:\d+:)?(\d{3}\.\d{2,3}(?:\.\d{2})?)(?![\d.])")


class DriverThere:
    """The driver that a host has, whatever is wanted of it."""

    def __init__(self, host: Host) -> None:
        self._facts = host.facts
        self._host = host

    @cached_property
    def loaded(self) -> str:
        """The version of the loaded module, '' where none is."""
        return self._facts["driver"]["loaded"]["version"]

    @cached_property
    def in_the_way(self) -> list[str]:
        """The names of the kernel's own drivers that are loaded while NVIDIA's lacks a GPU."""
        lacks = [gpu for gpu in self._host.own_gpus if gpu["driver"] != "nvidia"]
        found = self.in_kernel.items()
        return [name for name, driver in found if driver["loaded"] and lacks]

    @cached_property
    def in_kernel(self) -> dict[str, facts_shape.InKernelDriver]:
        """{name: what is seen of it} of the kernel's own drivers for the same devices."""
        return in_kernel_drivers.by_name(self._facts["in_kernel_drivers"])

    @cached_property
    def packaged(self) -> str:
        """The version of the driver's packages, '' where there is none."""
        found = [
            match[1] for package in self.packages if (match := _VERSION.match(package["version"]))
        ]
        return versions.ordered(found)[-1] if found else ""

    @cached_property
    def packages(self) -> list[facts_shape.Package]:
        """The packages that carry the driver's version, without those of no driver of their own."""
        return [
            package
            for package in self._facts["packages"]
            if _VERSION.match(package["version"]) and not beside_runfile.may_stay(package["name"])
        ]

    @cached_property
    def runfile(self) -> str:
        """The version that a .run installed, '' where none did."""
        return self._facts["driver"]["runfile"]

    @cached_property
    def methods(self) -> list[str]:
        """How the driver was installed: 'runfile', 'package', both or none of them."""
        found = {"runfile": self.runfile, "package": self.packaged or self.has_prebuilt}
        return [method for method, is_there in found.items() if is_there]

    @cached_property
    def installed(self) -> str:
        """The version on disk, '' where there is none; of several the one that is managed."""
        on_disk = [*self._versions, *self._facts["driver"]["libraries"]]
        return self.runfile or self.packaged or (versions.ordered(on_disk) or [""])[-1]

    def modules_for(self, kernel: str) -> dict[str, facts_shape.Module]:
        """Return {name: row} of the modules on disk for a kernel."""
        return self._modules.get(kernel, {})

    @cached_property
    def _modules(self) -> dict[str, dict[str, facts_shape.Module]]:
        found: dict[str, dict[str, facts_shape.Module]] = {}
        for row in self._facts["driver"]["modules"]:
            found.setdefault(row["kernel"], {}).setdefault(row["name"], row)
        return found

    @cached_property
    def _versions(self) -> list[str]:
        """The versions of nvidia.ko on disk for the kernels that the host runs or will run."""
        return versions.ordered(row["version"] for row in self._target_modules if row["version"])

    @cached_property
    def types(self) -> list[str]:
        """The kinds of what is on disk for these: 'open', 'proprietary'."""
        return module_types.types_of(self._target_modules)

    @cached_property
    def _target_modules(self) -> list[facts_shape.Module]:
        """The rows of nvidia.ko for the kernels that the host runs or will run."""
        rows = [self.modules_for(kernel["release"]).get("nvidia") for kernel in self._host.targets]
        return [row for row in rows if row]

    @cached_property
    def has_prebuilt(self) -> bool:
        """Whether modules that the distribution has built and signed are there."""
        return any(_PREBUILT.fullmatch(row["name"]) for row in self._facts["packages"])
