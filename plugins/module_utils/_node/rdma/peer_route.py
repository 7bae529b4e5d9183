# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plan and the node decide alike about peer memory: by which route, and which release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..facts_shape import GpuHost, Package, SecureBoot
from ..gpu import architectures, module_types, pci
from ..kernel import secure_boot
from ..packages import versions
from ..refusal import Refusal

_Row = TypeVar("_Row", bound=Mapping[str, Any])

#: The modules that register GPU memory with the RDMA core; one of them at most is there.
MODULES = ("nv_peer_mem", "nvidia_peermem")
# The best first.
ROUTES = ("dmabuf", "nvidia_peermem", "nv_peer_mem")
# GPUDirect RDMA by dma-buf: GPU Operator documentation, "GPUDirect RDMA and GPUDirect Storage".
_DMABUF_KERNEL = "5.12"

#: (what, because, remedy) of what keeps nv_peer_mem from being delivered as an RPM.
NO_SIGNED_PACKAGE = (
    "peer_memory_delivery: rpm",
    "Secure Boot is on, and rpmbuild signs no modules",
    "DKMS does: say peer_memory_delivery: dkms",
)


# The packages of Mellanox/nv_peer_memory: debian/control, and nvidia_peer_memory.spec. Our own .rpm
# files have the release of their kernel, which begins with two numbers, behind that of the tag.
_FOREIGN = re.compile(r"nvidia-peer-memory(?:-dkms)?")
_RPM, _OUR_RPM = "nvidia_peer_memory", re.compile(r"[0-9.]+-[0-9]+\.[0-9]+\.[\w.]+")


class Driver(NamedTuple):
    """The driver that peer memory is to work with: its branch and version, and whether it is open.

    :ivar is_open: whether its modules are the open ones.
    """

    branch: str
    version: str
    is_open: bool


class Abilities(NamedTuple):
    """What a host has for peer memory.

    :ivar has_api: whether the RDMA stack takes peer memory clients.
    :ivar driver: the Driver.
    :ivar branches: {branch of the driver: its routes} of the catalog, newest first.
    :ivar kernels: the releases of the kernels in service, see kernels.in_service.
    :ivar never: the names of the architectures among the GPUs that open modules do not drive.
    """

    has_api: bool
    driver: Driver
    branches: dict[str, list[str]]
    kernels: list[str]
    never: list[str]


def abilities(
    facts: GpuHost,
    stack: str,
    of_archive: bool,
    driver: Driver,
    kernels: list[str],
    branches: dict[str, list[str]],
    rows: Mapping[str, Mapping[str, Any]],
) -> Abilities:
    """Return the Abilities of a host.

    :param facts: of gpu_host.survey.
    :param stack: the kind of the RDMA stack that will be there.
    :param of_archive: whether that is the DOCA-OFED of the distribution's archive, which leaves no
        symbols to build a client with, unless somebody has laid them there.
    :param driver: the Driver that will be there.
    :param kernels: the releases of the kernels in service, see kernels.in_service.
    :param branches: {branch: its routes} of the catalog, newest first.
    :param rows: {name: {open_modules}} of the catalog's architectures.
    """
    is_own = facts["rdma_stack"]["kind"] == "inbox" or of_archive
    is_vendors = stack != "inbox" and not of_archive
    has_api = is_vendors or (is_own and facts["peer_memory"]["headers"])
    never = module_types.that(architectures.among(pci.own(facts["gpus"])), rows, "never")
    return Abilities(has_api, driver, branches, kernels, never)


def chosen(said: str, has_devices: bool, can: Abilities) -> str:
    """Return the route: as said, or the best that works; 'none' where none does.

    :param said: a route, 'none' or 'auto'.
    :param has_devices: whether there is an RDMA device.
    :param can: the Abilities.
    """
    if said != "auto":
        return said
    possible = [name for name in ROUTES if has_devices and not why_not(name, can)]
    return possible[0] if possible else "none"


def foreign_packages(packages: Iterable[Package]) -> list[str]:
    """Return the names of the packages of nv_peer_mem that are not ours, which the role refuses.

    :param packages: rows of stack_packages.survey.
    """
    return [
        row["name"]
        for row in packages
        if _FOREIGN.fullmatch(row["name"])
        or (row["name"] == _RPM and not _OUR_RPM.fullmatch(row["version"]))
    ]


def others(route: str) -> list[str]:
    """Return the names of the modules that are not to be there with a route."""
    return [name for name in MODULES if name != route]


def why_not(route: str, can: Abilities) -> list[str]:
    """Return sentences about what keeps a route from working; [] where nothing does."""
    lacks = []
    if route in MODULES and not can.has_api:
        lacks.append(
            "the distribution's own RDMA stack (inbox, and DOCA-OFED of its archive) takes no peer "
            "memory clients; MLNX_OFED and DOCA-OFED of NVIDIA's do"
        )
    branch = can.driver.branch
    if branch in can.branches and route in ROUTES and route not in can.branches[branch]:
        able = [name for name, routes in can.branches.items() if route in routes]
        version = can.driver.version
        lacks.append(f"it goes with driver branches {able[-1]} to {able[0]}, not {version}")
    if route == "dmabuf":
        lacks += _why_no_dmabuf(can)
    return lacks


def is_kept_out(route: str, found: SecureBoot) -> bool:
    """Say whether the firmware would not let the module of a route load.

    What the driver brings was let in with it.

    :param found: what secure_boot.survey returned.
    """
    return route == "nv_peer_mem" and secure_boot.lacks_key(found)


def cannot_sign(route: str, delivery: str, found: SecureBoot) -> bool:
    """Say whether a module would have to be signed that is not, see NO_SIGNED_PACKAGE.

    :param delivery: what nv_peer_mem comes by, 'dkms' or 'rpm'.
    :param found: what secure_boot.survey returned.
    """
    return route == "nv_peer_mem" and delivery == "rpm" and secure_boot.needs_signature(found)


def fitting(said: str, rows: Iterable[_Row], has_client_ex: bool) -> list[_Row]:
    """Return those tags of nv_peer_mem that can be taken: the one that is said, else all that fit.

    :param said: a tag, '' for none.
    :param rows: {tag, needs_client_ex} each.
    :param has_client_ex: whether the RDMA stack has struct peer_memory_client_ex.
    """
    if said:
        return [row for row in rows if row["tag"] == said]
    return [row for row in rows if is_fit(row, has_client_ex)]


def is_fit(row: Mapping[str, Any], has_client_ex: bool) -> bool:
    """Say whether a tag of nv_peer_mem builds with an RDMA stack; see :func:`fitting`."""
    return has_client_ex or not row["needs_client_ex"]


def refuse_without_archive(tag: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a tag of nv_peer_mem of which no archive is known.

    :param rows: its row of the wanted state, [] where the catalog does not know the tag.
    :raises Refusal: there is none.
    """
    if not (rows and rows[0]["file"]):
        raise Refusal(
            f"nv_peer_mem {tag}",
            "no archive of it is known whose sha256 is",
            f"Say peer_memory_archives: {{{tag}: FILE#sha256=DIGEST}}; sha256sum prints the digest",
        )


def _why_no_dmabuf(can: Abilities) -> list[str]:
    lacks = []
    if not can.driver.is_open:
        lacks.append("dma-buf needs the open kernel modules")
    old = [release for release in can.kernels if versions.is_below(release, _DMABUF_KERNEL)]
    if old:
        lacks.append(f"dma-buf needs kernel {_DMABUF_KERNEL} or later, and {old[0]} is older")
    if can.never:
        lacks.append(f"dma-buf needs Turing or later, and there is {can.never[0].capitalize()}")
    return lacks
