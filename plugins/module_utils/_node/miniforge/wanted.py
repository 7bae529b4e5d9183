# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of Miniforge on a host: what the controller resolves, and the node brings."""

from __future__ import annotations

from typing import Literal, TypedDict, Union


class Installer(TypedDict):
    """Miniforge's installer.

    :ivar url: where it is fetched from.
    :ivar sha256: its digest, 64 digits.
    """

    url: str
    sha256: str


class Present(TypedDict):
    """Miniforge is to be there.

    :ivar prefix: the folder of the installation.
    :ivar version: Miniforge's, such as 26.7.2-0.
    :ivar conda_version: that of the conda in it.
    :ivar architecture: the one that the installer is for, as Linux names it; "" where the user
        named the installer.
    :ivar installer: what it is installed from.
    :ivar proxies: {scheme: address} of those that it is fetched through.
    :ivar ca_bundle: the path of the certificates to trust, "" for the host's own.
    :ivar ca_path: where certificates of the controller come to lie.
    :ivar ca_text: what is to lie there, None for nothing.
    :ivar condarc: the text of the installation's .condarc.
    :ivar pip_config: the path of the configuration of pip.
    :ivar pip_conf: the text of that.
    """

    state: Literal["present"]
    prefix: str
    version: str
    conda_version: str
    architecture: str
    installer: Installer
    proxies: dict[str, str]
    ca_bundle: str
    ca_path: str
    ca_text: str | None
    condarc: str
    pip_config: str
    pip_conf: str


class Absent(TypedDict):
    """Miniforge is to go.

    :ivar prefix: the folder of the installation.
    :ivar pip_config: the path of the configuration of pip in it.
    """

    state: Literal["absent"]
    prefix: str
    pip_config: str


State = Union[Present, Absent]
