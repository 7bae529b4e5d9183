# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nv_peer_mem is delivered by: the interface that DKMS and packages have in common."""

from __future__ import annotations

import abc
from typing import Any, Callable, Generic, TypeVar

from ..component.bring import Node
from ..facts_shape import Kernel, Module, Surveyed
from ..steps import Step
from ..system import text_files
from ..system.root import Root
from . import nv_peer_mem

There = TypeVar("There")
#: Refuses a module that would not load, by its path and the release of its kernel.
Hold = Callable[[str, str], None]


class Delivery(abc.ABC, Generic[There]):
    """One way in which nv_peer_mem comes to a host.

    What it says follows from what was observed. What it builds is in nobody's way until it is
    installed; see plan.py for the order.

    :cvar name: what people call it.
    :param order: what is to be there by it.
    :param node: the bring.Node, for what it does there.
    :param there: what its :meth:`observe` found.
    """

    name: str

    def __init__(self, order: nv_peer_mem.Order, node: Node, there: There) -> None:
        self.order = order
        self.node = node
        self.there = there

    @staticmethod
    @abc.abstractmethod
    def packages(manager: str) -> list[str]:
        """Return the names of the packages that it works with.

        :param manager: that of the host's packages, as the facts name it.
        """

    @staticmethod
    @abc.abstractmethod
    def observe(tree: Root, facts: Surveyed) -> There:
        """Return what there is of nv_peer_mem by it.

        :param tree: the host.
        :param facts: of the host.
        """

    @property
    @abc.abstractmethod
    def lacks_sources(self) -> bool:
        """Whether an archive is needed to build from: what lies there is not as wanted."""

    @property
    @abc.abstractmethod
    def foreign(self) -> str:
        """A path of what would have to go and is a package's of somebody else, '' for none."""

    @property
    @abc.abstractmethod
    def files(self) -> dict[str, text_files.TextFile]:
        """{path: TextFile} of its settings."""

    @abc.abstractmethod
    def has(self, release: str) -> bool:
        """Say whether the module of a kernel is there by it, and from the wanted sources."""

    @abc.abstractmethod
    def has_put(self, row: Module) -> bool:
        """Say whether a module on disk came by it, as far as it can tell.

        :param row: of installed_driver.modules.
        """

    @abc.abstractmethod
    def places(self, release: str) -> list[str]:
        """Return the paths where it puts a module for a kernel, beside one of others."""

    @abc.abstractmethod
    def build(self, kernels: list[Kernel], hold: Hold) -> None:
        """Build the modules of some kernels, beside those that are there, or leave all as it was.

        :param kernels: rows of kernels.survey.
        :raises Refusal: one cannot be built, would not load, or could not be installed.
        """

    @abc.abstractmethod
    def install(self, releases: list[str]) -> None:
        """Put the modules in place that were built.

        :raises Refusal: they cannot be.
        """

    @abc.abstractmethod
    def removing(self) -> list[Step]:
        """Return the steps.Step that remove what came by it and is not to be there."""

    @abc.abstractmethod
    def manifest(self) -> list[dict[str, Any]]:
        """Return the entries of what is in place by it, beside modules and files."""
