# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plan and the node decide alike about peer memory: by which route, and which release."""

from __future__ import annotations

import collections

from ..packages import versions
from ..refusal import Refusal

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

# What a host has for it: has_api, whether the RDMA stack takes peer memory clients; branch and
# version of the driver; branches, {branch: its routes} of the catalog, newest first; is_open,
# whether its modules are the open ones; kernels, the releases; never, the names of the
# architectures among the GPUs that open modules do not drive.
Abilities = collections.namedtuple(
    "Abilities", "has_api branch version branches is_open kernels never"
)


def chosen(said, has_devices, can):
    """Return the route: as said, or the best that works; 'none' where none does.

    :param said: a route, 'none' or 'auto'.
    :param has_devices: whether there is an RDMA device.
    :param can: the Abilities.
    """
    if said != "auto":
        return said
    possible = [name for name in ROUTES if has_devices and not why_not(name, can)]
    return possible[0] if possible else "none"


def why_not(route, can):
    """Return sentences about what keeps a route from working; [] where nothing does."""
    lacks = []
    if route in MODULES and not can.has_api:
        lacks.append(
            "the distribution's own RDMA stack (inbox) takes no peer memory clients; MLNX_OFED "
            "and DOCA-OFED do"
        )
    if can.branch in can.branches and route in ROUTES and route not in can.branches[can.branch]:
        able = [name for name, routes in can.branches.items() if route in routes]
        lacks.append(f"it goes with driver branches {able[-1]} to {able[0]}, not {can.version}")
    if route == "dmabuf":
        lacks += _why_no_dmabuf(can)
    return lacks


def refuse_without_archive(tag, rows):
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


def _why_no_dmabuf(can):
    lacks = []
    if not can.is_open:
        lacks.append("dma-buf needs the open kernel modules")
    old = [release for release in can.kernels if versions.is_below(release, _DMABUF_KERNEL)]
    if old:
        lacks.append(f"dma-buf needs kernel {_DMABUF_KERNEL} or later, and {old[0]} is older")
    if can.never:
        lacks.append(f"dma-buf needs Turing or later, and there is {can.never[0].capitalize()}")
    return lacks
