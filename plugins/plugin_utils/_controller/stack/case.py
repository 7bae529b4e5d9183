# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host and what is wanted of it, and all that follows from the two together.

The rules of the planner ask here; nothing is decided twice.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    architectures as gpu_architectures,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    beside_runfile,
    loaded_module,
    module_types,
    pci,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import clients as gpu_clients
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import faults as gpu_faults
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import kernels, secure_boot
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import (
    ofed_release,
    openibd_restart,
    peer_route,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import distribution

from .stack_catalog import StackCatalog

_PREBUILT = re.compile(r"linux-modules-nvidia-\d.*")
# NVIDIA's catalog of Xids: VGPU_START_ERROR.
_VGPU_START_ERROR = 78
_DRIVER_VERSION = re.compile(r"(?:\d+:)?(\d{3}\.\d{2,3}(?:\.\d{2})?)(?![\d.])")

# The repository whose packages have NVIDIA's own sources.
_VENDORS = "cuda"

# What a host tells of itself where it tells nothing: facts of an older version lack keys.
EMPTY = shape.empty(shape.Facts)


def completed(facts: Mapping[str, Any], empty: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return facts with each key that is missing, or of another type, as if nothing were there."""
    empty = EMPTY if empty is None else empty
    found = dict(facts)
    for key, default in empty.items():
        if not isinstance(facts.get(key), type(default)):
            found[key] = copy.deepcopy(default)
        elif isinstance(default, dict):
            found[key] = completed(facts[key], default)
    return found


class Case:
    """A host's facts and its wanted stack.

    :param wanted: what selection.resolve returned.
    :param facts: of node_info.
    :param known: the StackCatalog.
    :param cuda_needs: [{by, cuda, pytorch}]: what environments were built for, '' where not told.
    :param today: the date as 'YYYY-MM', against which ends of life are held.
    """

    def __init__(
        self,
        wanted: Mapping[str, Any],
        facts: Mapping[str, Any],
        known: StackCatalog,
        cuda_needs: Sequence[Mapping[str, str]],
        today: str,
    ) -> None:
        self.wanted = wanted
        self.facts = cast(shape.Facts, completed(facts))
        self.known = known
        self.cuda_needs = cuda_needs
        self.today = today
        # A host without a GPU needs no driver; an image is for hosts that will have one.
        has_use = bool(self.own_gpus) or not self.facts["own_kernel"]
        # None where a part is not ours; who asks what is wanted of it has seen to that before.
        self.driver: Any = wanted["driver"] if has_use else None
        self.vgpu: Any = wanted["vgpu"] if has_use else None
        self.peer_memory: Any = wanted["peer_memory"] if has_use else None
        self.ofed: Any = wanted["ofed"]
        self.consent = wanted["consent"]
        self.drain = wanted["drain"]

    # The host's GPUs.

    @cached_property
    def gpus(self) -> dict[str, str]:
        """{address: architecture} of the GPUs whose architecture is known."""
        return {gpu["address"]: gpu["architecture"] for gpu in self.own_gpus if gpu["architecture"]}

    @cached_property
    def own_gpus(self) -> list[shape.Gpu]:
        """The GPUs that the host has for itself: none that it hands on to a guest."""
        return pci.own(self.facts["gpus"])

    @cached_property
    def architectures(self) -> list[str]:
        """The names of the architectures among the GPUs, oldest first."""
        return gpu_architectures.among(self.own_gpus)

    def architectures_that(self, open_modules: str) -> list[str]:
        """Return those architectures to which open modules are 'never', 'possible', 'required'."""
        return module_types.that(self.architectures, self.known.architectures, open_modules)

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
    def clients(self) -> list[Mapping[str, Any]]:
        """Those who work on a GPU: neither the driver's own daemons nor who only watches."""
        return gpu_clients.at_work(self.facts["gpu_clients"])

    @cached_property
    def may_reload(self) -> bool:
        """Whether a loaded module is exchanged in memory, with whoever uses it stopped."""
        return loaded_module.is_exchanged(self.facts, self.consent, self.drain)

    @cached_property
    def held(self) -> str:
        """What keeps a loaded module from the exchange in memory that was asked for; '' if nothing.

        Then it is left to a reboot.
        """
        if not loaded_module.may_exchange(self.facts, self.consent):
            return ""
        return loaded_module.what_holds(self.facts, self.drain)

    # Its kernels.

    @cached_property
    def kernels(self) -> list[Mapping[str, Any]]:
        """The kernels that are to have the driver: running, next to boot, and all with headers."""
        return kernels.served(self.facts["kernels"])

    @cached_property
    def targets(self) -> list[Mapping[str, Any]]:
        """Those of them that the host runs or will run; where none does, as in an image, all."""
        return kernels.in_service(self.facts["kernels"])

    @cached_property
    def lacks_key(self) -> bool:
        """Whether the firmware would not let modules load that are built here."""
        return secure_boot.lacks_key(self.facts["secure_boot"])

    # The driver that is there.

    @cached_property
    def loaded(self) -> str:
        """The version of the loaded module, '' where none is."""
        return self.facts["driver"]["loaded"]["version"]

    @cached_property
    def drivers_in_the_way(self) -> list[str]:
        """The names of the kernel's own drivers that are loaded while NVIDIA's lacks a GPU."""
        lacks = [gpu for gpu in self.own_gpus if gpu["driver"] != "nvidia"]
        found = self.in_kernel_drivers.items()
        return [name for name, driver in found if driver["loaded"] and lacks]

    @cached_property
    def in_kernel_drivers(self) -> dict[str, shape.InKernelDriver]:
        """{name: what is seen of it} of the kernel's own drivers for the same devices."""
        return cast(dict[str, shape.InKernelDriver], self.facts["in_kernel_drivers"])

    @cached_property
    def packaged(self) -> str:
        """The version of the driver's packages, '' where there is none."""
        found = [
            match[1]
            for package in self.driver_packages
            if (match := _DRIVER_VERSION.match(package["version"]))
        ]
        return versions.ordered(found)[-1] if found else ""

    @cached_property
    def driver_packages(self) -> list[shape.Package]:
        """The packages that carry the driver's version, without those of no driver of their own."""
        return [
            package
            for package in self.facts["packages"]
            if _DRIVER_VERSION.match(package["version"])
            and not beside_runfile.may_stay(package["name"])
        ]

    @cached_property
    def runfile(self) -> str:
        """The version that a .run installed, '' where none did."""
        return self.facts["driver"]["runfile"]

    @cached_property
    def methods(self) -> list[str]:
        """How the driver was installed: 'runfile', 'package', both or none of them."""
        found = {"runfile": self.runfile, "package": self.packaged or self.has_prebuilt}
        return [method for method, is_there in found.items() if is_there]

    @cached_property
    def installed(self) -> str:
        """The version on disk, '' where there is none; of several the one that is managed."""
        on_disk = [*self.module_versions, *self.facts["driver"]["libraries"]]
        return self.runfile or self.packaged or (versions.ordered(on_disk) or [""])[-1]

    def modules_for(self, kernel: str) -> dict[str, Mapping[str, Any]]:
        """Return {name: row} of the modules on disk for a kernel."""
        return self._modules.get(kernel, {})

    @cached_property
    def _modules(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        found: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in self.facts["driver"]["modules"]:
            found.setdefault(row["kernel"], {}).setdefault(row["name"], row)
        return found

    @cached_property
    def module_versions(self) -> list[str]:
        """The versions of nvidia.ko on disk for the kernels that the host runs or will run."""
        return versions.ordered(row["version"] for row in self._target_modules if row["version"])

    @cached_property
    def installed_types(self) -> list[str]:
        """The kinds of what is on disk for these: 'open', 'proprietary'."""
        return module_types.types_of(self._target_modules)

    @cached_property
    def _target_modules(self) -> list[Mapping[str, Any]]:
        """The rows of nvidia.ko for the kernels that the host runs or will run."""
        rows = [self.modules_for(kernel["release"]).get("nvidia") for kernel in self.targets]
        return [row for row in rows if row]

    # The driver that is to be there.

    @cached_property
    def branch(self) -> str:
        """The branch that is wanted, else the one that is there."""
        there = versions.branch(self.installed or self.loaded)
        return self.driver["branch"] if self.driver else there

    @cached_property
    def version(self) -> str:
        """The wanted version as far as it is said: a whole one, or a branch; else what is there."""
        if not self.driver:
            return self.installed or self.loaded
        return self.driver["version"] or self.branch

    @cached_property
    def branch_row(self) -> dict[str, Any] | None:
        """The catalog's row of that branch, None where it is not known."""
        return self.known.branches.get(self.branch)

    @cached_property
    def module_type(self) -> str:
        """'open' or 'proprietary': as said, as the GPUs require, as it is there, as is usual."""
        said = self.driver["modules"] if self.driver else "auto"
        offered = self.branch_row["module_types"] if self.branch_row else []
        return module_types.of_host(
            self.facts, said, self.known.architectures, bool(self.vgpu), offered, self.branch
        )

    @cached_property
    def not_open(self) -> list[str]:
        """The names of the architectures that open modules do not drive on this host."""
        return module_types.not_open(self.architectures, self.known.architectures, bool(self.vgpu))

    @cached_property
    def has_vendor_tree(self) -> bool:
        """Whether its modules are built of NVIDIA's own sources, which nobody patched."""
        if not self.driver:
            return False
        row = self.package_row or {}
        return self.driver["method"] == "runfile" or row.get("repository") == _VENDORS

    @cached_property
    def to_be_built_for(self) -> list[Mapping[str, Any]]:
        """The kernels that modules would be built for; none of those that have them."""
        if not self.driver or (self.prebuilt and (self.has_prebuilt or self.lacks_key)):
            return []
        wanted = self.driver["version"]
        rows = {row["release"]: self.modules_for(row["release"]) for row in self.kernels}
        found = {
            release: row["nvidia"]["version"] for release, row in rows.items() if "nvidia" in row
        }
        there = {
            release
            for release, version in found.items()
            if (version == wanted if wanted else versions.branch(version) == self.branch)
        }
        return [kernel for kernel in self.kernels if kernel["release"] not in there]

    @cached_property
    def kernel_limits(self) -> list[Mapping[str, Any]]:
        """The catalog's limits that hold for the wanted release and kind of modules."""
        # Of packages the newest release is taken, which is not known beforehand.
        version = (self.driver["version"] if self.driver else "") or f"{self.branch}.999"
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

    def may_be_open(self, kind: str) -> bool:
        """Say whether open modules are a way out of a limit of one kind."""
        row = self.branch_row or {}
        return kind == "proprietary" and "open" in row.get("module_types", []) and not self.not_open

    # RDMA and peer memory.

    @cached_property
    def ofed_kind(self) -> str:
        """The RDMA stack that will be there: as wanted, else as it is."""
        return self.ofed["kind"] if self.ofed else self.facts["rdma_stack"]["kind"]

    @cached_property
    def ofed_version(self) -> str:
        """Its version, '' for the distribution's own."""
        return self.ofed["version"] if self.ofed else self.facts["rdma_stack"]["version"]

    @cached_property
    def ofed_file(self) -> tuple[str, str]:
        """(bundle, sha256) of MLNX_OFED: as said, else as published for this distribution."""
        if self.ofed["file"]:
            return self.ofed["file"], self.ofed["sha256"]
        row = self.known.ofed(self.ofed["version"])
        # The row of another release speaks for its series alone.
        is_it = row and row["version"] == self.ofed["version"]
        return ofed_release.bundle(row if is_it else None, self.facts)

    @cached_property
    def distribution(self) -> str:
        """The distribution as the catalog names it: 'Debian 12', 'Ubuntu 22.04', 'RedHat 9'."""
        return distribution.catalog_name(self.facts)

    @cached_property
    def package_row(self) -> dict[str, Any] | None:
        """The catalog's row of the packages that bring the wanted branch, None without one."""
        repository = self.driver["repository"] if self.driver else ""
        return self.known.packages(self.distribution, self.branch, repository)

    @cached_property
    def prebuilt(self) -> bool:
        """Whether the distribution may have built and signed the wanted modules for this host."""
        is_packaged = bool(self.driver) and self.driver["method"] == "package"
        row = (self.package_row if is_packaged else None) or {}
        return self.module_type in row.get("prebuilt", {})

    @cached_property
    def has_prebuilt(self) -> bool:
        """Whether modules that the distribution has built and signed are there."""
        return any(_PREBUILT.fullmatch(row["name"]) for row in self.facts["packages"])

    @cached_property
    def wants_ofed(self) -> bool:
        """Whether a vendor's RDMA stack is wanted, whose modules are built on the host."""
        return bool(self.ofed and self.ofed["kind"] != "inbox")

    @cached_property
    def has_ofed(self) -> bool:
        """Whether a vendor's RDMA stack is wanted, and there in the version that is wanted."""
        found, wanted = self.facts["rdma_stack"], self.ofed or {"kind": "inbox"}
        if not found["kind"] == wanted["kind"] != "inbox":
            return False
        if wanted["kind"] == "mlnx_ofed":
            return found["version"] == wanted["version"]
        packages = {row["name"]: row["version"] for row in self.facts["packages"]}
        profile = packages.get(ofed_release.PROFILE, "")
        release = self.known.doca(wanted["version"]).get("doca", "")
        return ofed_release.is_doca(wanted["version"], release, found["version"], profile)

    @cached_property
    def lacking_ofed(self) -> list[Mapping[str, Any]]:
        """The kernels that modules of that stack can be built for, and that have none of it."""
        there = self.facts["rdma_stack"]["kernels"]
        rows = ofed_release.kernels(self.kernels, self.has_ofed_tree) if self.has_ofed else []
        return [row for row in rows if row["headers"] and row["release"] not in there]

    @cached_property
    def has_ofed_tree(self) -> bool:
        """Whether DKMS has the RDMA stack's modules, and builds them for any kernel."""
        return ofed_release.has_tree(self.facts["driver"]["dkms"])

    @cached_property
    def restarts_openibd(self) -> bool:
        """Whether openibd exchanges the RDMA modules that are loaded; else a reboot does.

        Consent to it may be lacking still: the node does it with that alone, and refuses where a
        module that it sees by then stands in the way.
        """
        return openibd_restart.is_the_way(self.ofed_kind, self.facts, self.consent)

    @cached_property
    def is_over_rdma(self) -> list[str]:
        """The interfaces of RDMA devices that carry the connection to the host; [] for none."""
        return openibd_restart.under_connection(self.facts)

    @cached_property
    def route(self) -> str:
        """How peer memory is to work: as said, or what this host can do best; '' if not ours."""
        if not self.peer_memory:
            return ""
        has_devices = bool(self.facts["rdma_devices"])
        return peer_route.chosen(self.peer_memory["route"], has_devices, self._abilities)

    def why_not(self, route: str) -> list[str]:
        """Return what keeps a route from working on this host; [] where nothing does."""
        return peer_route.why_not(route, self._abilities)

    @cached_property
    def _abilities(self) -> peer_route.Abilities:
        return peer_route.abilities(
            self.facts,
            self.ofed_kind,
            peer_route.Driver(self.branch, self.version, self.module_type == "open"),
            [row["release"] for row in self.targets],
            self.known.routes,
            self.known.architectures,
        )

    @cached_property
    def tag(self) -> str:
        """The tag of nv_peer_mem: as said, else the newest that fits the RDMA stack."""
        if self.peer_memory["tag"]:
            return self.peer_memory["tag"]
        rows = peer_route.fitting("", self.known.tags.values(), self._has_client_ex)
        return rows[0]["tag"] if rows else ""

    def misfit(self, tag: str) -> bool:
        """Say whether a tag of nv_peer_mem is known not to build with the RDMA stack."""
        row = self.known.tags.get(tag)
        return row is not None and not peer_route.is_fit(row, self._has_client_ex)

    @cached_property
    def _has_client_ex(self) -> bool:
        """Whether the RDMA stack has what newer tags need; of one to come nothing may be known."""
        row, found = self.known.ofed(self.ofed_version), self.facts["peer_memory"]
        return row["peer_client_ex"] if row else found["client_ex"] or not found["headers"]
