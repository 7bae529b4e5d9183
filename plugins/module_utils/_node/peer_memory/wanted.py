# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted state of peer memory, as the controller resolves it and the host gets it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union


class Tag(TypedDict):
    """A release of nv_peer_mem.

    :ivar tag: its name, '1.1-0'.
    :ivar needs_client_ex: whether it needs struct peer_memory_client_ex of the RDMA stack.
    :ivar file: its archive: the address, or the path on the controller; '' where none is known.
    :ivar sha256: the archive's digest, '' without one.
    """

    tag: str
    needs_client_ex: bool
    file: str
    sha256: str


class DriverParts(TypedDict):
    """Where the driver's parts lie on the host; '' for what is to be found there.

    :ivar module: the path of its module.
    :ivar source: the folder with its header.
    """

    module: str
    source: str


class NvidiaDriver(TypedDict, total=False):
    """The driver that the same run brings before; without a key where it brings none.

    :ivar version: '535.161.08'; '' for packages, which are chosen by branch.
    :ivar branch: '535'.
    :ivar method: 'package' or 'runfile'.
    :ivar modules: 'auto', 'open' or 'proprietary'.
    :ivar guest: whether it is the driver of a guest with a virtual GPU.
    :ivar offered: the kinds of modules that there are of the branch, [] where that is not known.
    :ivar leaves_headerless: whether kernels that modules cannot be built for are left as they are.
    """

    version: str
    branch: str
    method: str
    modules: str
    guest: bool
    offered: list[str]
    leaves_headerless: bool


class RdmaStack(TypedDict):
    """The RDMA stack that the same run brings before; '' in each where it brings none.

    :ivar kind: 'mlnx_ofed', 'doca' or 'inbox'.
    :ivar version: as much of it as is said.
    :ivar release: the series of DOCA that has it, '3.2'; '' where that is not known.
    :ivar client_ex: whether it has struct peer_memory_client_ex, None where that is not known.
    :ivar of_archive: whether it is the DOCA-OFED of the distribution's archive, which has neither
        openibd nor symbols.
    """

    kind: str
    version: str
    release: str
    client_ex: bool | None
    of_archive: bool


class Unsaid(TypedDict):
    """Nothing is wanted; the host is not asked for anything."""

    state: Literal["unsaid"]


class Said(TypedDict):
    """The route, and with what nv_peer_mem would be built.

    What follows from the host, such as what 'auto' comes to, is left to the node.

    :ivar state: 'absent' where the route is 'none'.
    :ivar route: 'auto', 'nv_peer_mem', 'nvidia_peermem', 'dmabuf' or 'none'.
    :ivar delivery: 'dkms' or 'rpm': what delivers nv_peer_mem.
    :ivar tag: the name of the release of nv_peer_mem, '' for the newest that fits.
    :ivar tags: all that there are, newest first.
    :ivar patches: {name of the file: text} of the patches that the tags take.
    :ivar branches: {branch of the driver: the routes that it leaves open}, newest first.
    :ivar architectures: {name: the catalog's row} of the generations of GPUs.
    """

    state: Literal["absent", "present"]
    route: str
    delivery: str
    tag: str
    tags: list[Tag]
    patches: dict[str, str]
    driver: DriverParts
    branches: dict[str, list[str]]
    architectures: dict[str, dict[str, Any]]
    nvidia_driver: NvidiaDriver
    rdma_stack: RdmaStack


State = Union[Unsaid, Said]
