# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which driver a host is to have, as it is said of the stack and of the component alike."""

from __future__ import annotations

from typing import TypedDict


class NamedDriver(TypedDict):
    """The NVIDIA driver that is wanted.

    :ivar branch: its branch, '535'.
    :ivar version: '535.161.08'; '' for packages, which are chosen by branch.
    :ivar flavour: 'tesla' or 'grid'.
    :ivar method: 'package' or 'runfile'.
    :ivar modules: 'auto', 'open' or 'proprietary'.
    :ivar repository: where packages come from, by the catalog's name; '' for the one that it names
        first.
    :ivar file: the .run: its address, or its path on the controller; '' where none is known.
    :ivar sha256: its digest, '' without a file.
    """

    branch: str
    version: str
    flavour: str
    method: str
    modules: str
    repository: str
    file: str
    sha256: str
