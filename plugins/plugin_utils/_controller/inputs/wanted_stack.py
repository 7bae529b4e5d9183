# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The GPU stack that is wanted of a host, as stack/selection.py makes it of what is said."""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu.named_driver import (
    NamedDriver,
)


class File(TypedDict):
    """What something is installed from.

    :ivar file: an address, or a path as it was said; '' where none was, and none is published.
    :ivar sha256: its digest, '' without a file.
    """

    file: str
    sha256: str


class DriverOfRole(TypedDict, total=False):
    """What the options of nvidia_driver say of the driver besides; it is not there before.

    :ivar kernels_without_headers: 'refuse' or 'report': what becomes of a host that has one.
    """

    kernels_without_headers: str


class Driver(NamedDriver, DriverOfRole):
    """The NVIDIA driver."""


class OfedOfRole(TypedDict, total=False):
    """What the options of mlnx_ofed say of it besides; it is not there before.

    :ivar of_archive: whether it is the DOCA-OFED of the distribution's archive, see by_archive.py.
    """

    of_archive: bool


class Ofed(File, OfedOfRole):
    """The RDMA stack.

    :ivar kind: 'mlnx_ofed', 'doca' or 'inbox'.
    :ivar version: as it was said; '' for inbox.
    """

    kind: str
    version: str


class PeerMemoryOfRole(TypedDict, total=False):
    """What the options of peer_memory say of it besides; it is not there before.

    :ivar delivery: 'dkms' or 'rpm': what delivers nv_peer_mem.
    """

    delivery: str


class PeerMemory(PeerMemoryOfRole):
    """How RDMA devices reach the memory of GPUs.

    :ivar route: 'auto', 'nv_peer_mem', 'nvidia_peermem', 'dmabuf' or 'none'.
    :ivar tag: the release of nv_peer_mem, '' for the newest that fits.
    """

    route: str
    tag: str


class Vgpu(TypedDict):
    """The virtual GPU that the driver is for.

    :ivar release: of vGPU, '17'; '' where it is not known which one the driver is of.
    :ivar host: the version of the vGPU manager on the virtualization host, '' where not said.
    :ivar license: how licences are served: 'legacy' or 'nls', '' where not said.
    """

    release: str
    host: str
    license: str


class Stack(TypedDict):
    """The wanted stack; JSON can carry it. A part that is not ours is None.

    :ivar name: the catalog's name of it, '' for none.
    :ivar consent: names of gpunode_consent: what may be interrupted.
    :ivar drain: units of gpunode_drain: what is stopped while the driver is exchanged.
    """

    name: str
    driver: Driver | None
    ofed: Ofed | None
    peer_memory: PeerMemory | None
    vgpu: Vgpu | None
    consent: list[str]
    drain: list[str]
