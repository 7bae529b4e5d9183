# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of a host's environments: what the controller resolves, and the node brings."""

from __future__ import annotations

from typing import Any, TypedDict

from ..conda.wanted import Environment, KeptBuild


class Absent(TypedDict):
    """An environment that is to go.

    :ivar name: what it is called.
    :ivar link: the path of the link to it.
    :ivar dir: the folder of all environments.
    """

    name: str
    link: str
    dir: str


class Around(TypedDict):
    """What is wanted besides the environments that are to be in place.

    :ivar dir: the folder of all environments.
    :ivar remove_dir: whether that is to go once it is empty.
    :ivar keep: how many earlier builds of each stay.
    :ivar conda: the prefix of the installation that makes them.
    :ivar pip_config: the path of the configuration of pip.
    :ivar system_packages: packages of the distribution that are to be there, and shared libraries,
        which stand for the package that holds them.
    :ivar libraries: rows of the catalog's shared libraries, see imports.refusal(); none where
        nothing can ask for one.
    :ivar absent: the environments that are to go.
    :ivar leaving: the units of applications that go before environments do.
    """

    dir: str
    remove_dir: bool
    keep: int
    conda: str
    pip_config: str
    system_packages: list[str]
    libraries: list[dict[str, Any]]
    absent: list[Absent]
    leaving: list[str]


class State(Around):
    """The wanted state.

    :ivar environments: those that are to be in place.
    """

    environments: list[Environment | KeptBuild]


class Complete(Around):
    """The wanted state on a host, which has looked up what the builds hold that are only named.

    :ivar environments: those that are to be in place.
    """

    environments: list[Environment]
