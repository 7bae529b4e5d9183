# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted state of the NVIDIA driver, as the controller resolves it and the host gets it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

from ..gpu.named_driver import NamedDriver


class Unsaid(TypedDict):
    """Neither a driver nor its absence is wanted; the host is not asked for anything."""

    state: Literal["unsaid"]


class Absent(TypedDict):
    """No driver is wanted.

    :ivar repositories: {name: the catalog's row} of all that have packages of the driver.
    """

    state: Literal["absent"]
    repositories: dict[str, dict[str, Any]]


class Present(NamedDriver):
    """Which driver, by what means, and how it is to be set up.

    What follows from the host, such as which of the packages are its own, is left to the node.

    :ivar kernels_without_headers: 'refuse' or 'report': what becomes of a host that has one.
    :ivar guest: whether it is the driver of a guest with a virtual GPU.
    :ivar offered: the kinds of modules that there are of the branch, [] where that is not known.
    :ivar architectures: {name: the catalog's row} of the generations of GPUs.
    :ivar packages: {distribution: the catalog's row} of the packages that bring the branch, 'Debian
        12' being a distribution.
    :ivar repositories: {name: the catalog's row} of all that have packages of the driver.
    :ivar repository_url: where the repository is instead; '' for where the catalog says.
    :ivar peermem: whether nvidia_peermem may be what registers the GPUs' memory.
    :ivar parameters: {name: value as modprobe takes it} of the module nvidia.
    :ivar persistence: whether nvidia-persistenced is to run.
    """

    state: Literal["present"]
    kernels_without_headers: str
    guest: bool
    offered: list[str]
    architectures: dict[str, dict[str, Any]]
    packages: dict[str, dict[str, Any]]
    repositories: dict[str, dict[str, Any]]
    repository_url: str
    peermem: bool
    parameters: dict[str, str]
    persistence: bool


State = Union[Unsaid, Absent, Present]
