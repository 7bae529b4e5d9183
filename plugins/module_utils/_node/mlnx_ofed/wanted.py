# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted state of the RDMA stack, as the controller resolves it and the host gets it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union


class Unsaid(TypedDict):
    """Nothing is wanted; the host is not asked for anything."""

    state: Literal["unsaid"]


class DocaPackages(TypedDict):
    """What DOCA-OFED comes from; empty for the others.

    :ivar doca: the series of DOCA that has it, '3.2'; '' where that is not known.
    :ivar profile: the package that brings it.
    :ivar repository: the catalog's row of where it is; without an address it is the distribution's
        archive.
    :ivar repository_url: where that is instead; '' for where the row says.
    """

    doca: str
    profile: str
    repository: dict[str, Any]
    repository_url: str


class Present(DocaPackages):
    """Which stack, from where, and how its installer is to be told.

    Which bundle it is, where none was named, follows from the host's distribution and is left to
    the node.

    :ivar kind: 'mlnx_ofed', 'doca' or 'inbox', the distribution's own.
    :ivar version: as ofed_info has it, of DOCA-OFED also its series alone; '' for inbox.
    :ivar file: the bundle: its address, or its path on the controller; '' where none was named.
    :ivar sha256: its digest, '' without a file.
    :ivar release: the catalog's row of the version, {} where it has none.
    :ivar inbox_packages: {package manager: names of the packages} of the distribution's own.
    :ivar options: words that the installer of MLNX_OFED is given besides.
    :ivar tmpdir: the folder of the host in which the bundle is unpacked and modules are built.
    :ivar firmware_update: whether the adapters' firmware is updated along.
    """

    state: Literal["present"]
    kind: str
    version: str
    file: str
    sha256: str
    release: dict[str, Any]
    inbox_packages: dict[str, list[str]]
    options: list[str]
    tmpdir: str
    firmware_update: bool


State = Union[Unsaid, Present]
