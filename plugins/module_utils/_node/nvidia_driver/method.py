# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What it takes to be a way to install the driver; nvidia_driver/plan.py has the order."""

from __future__ import annotations

import abc
from typing import Any

from ..facts_shape import Surveyed
from ..steps import Step


class Method(abc.ABC):
    """One way to install a driver, as it is planned for one host.

    All that it tells and plans follows from what was seen of the host when the work began. Steps
    look at the host again where one before them changed what they have to know.
    """

    @property
    @abc.abstractmethod
    def found_by(self) -> str:
        """How a driver came to the host that came another way, in words."""

    @property
    @abc.abstractmethod
    def changes_method(self) -> bool:
        """Whether there is one that did."""

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """The version that kernels are held against beforehand; where none is known, the branch."""

    @property
    @abc.abstractmethod
    def version_to_be(self) -> str:
        """The version that will be installed, '' as long as a repository has to tell."""

    @property
    @abc.abstractmethod
    def builds(self) -> bool:
        """Whether modules have to be built."""

    @property
    @abc.abstractmethod
    def exchanges(self) -> bool:
        """Whether a driver that may be in use gives way."""

    @abc.abstractmethod
    def can_serve(self, release: str) -> bool:
        """Say whether a kernel without headers can have modules."""

    @abc.abstractmethod
    def needs(self) -> list[str]:
        """Return the names of the files of the controller that the host lacks."""

    @abc.abstractmethod
    def preparing(self) -> list[Step]:
        """Return what is done beside the driver that is in use.

        :raises Refusal: it cannot be done.
        """

    @abc.abstractmethod
    def building(self) -> list[Step]:
        """Return what makes the modules of every kernel, beside those that are there."""

    @abc.abstractmethod
    def exchanging(self) -> list[Step]:
        """Return what takes the place of the driver that is there."""

    @abc.abstractmethod
    def finishing(self) -> list[Step]:
        """Return what is done once the driver is in place.

        :raises Refusal: it cannot be done.
        """

    @abc.abstractmethod
    def going_back(self) -> str:
        """Bring back the driver that was there; return a sentence about what came of it.

        :raises Refusal: it cannot be brought back.
        """

    @abc.abstractmethod
    def prove(self, facts: Surveyed) -> str:
        """Hold the host to having this driver, for every kernel; return its version.

        :param facts: as they are now.
        :raises Refusal: it has not.
        """

    @abc.abstractmethod
    def manifest(self) -> list[dict[str, Any]]:
        """Return what is in place now, as entries of records/manifest.py."""
