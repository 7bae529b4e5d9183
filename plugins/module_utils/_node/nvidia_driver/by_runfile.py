# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted driver by a .run: its programs and libraries, and its modules by DKMS beside them."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..gpu import beside_runfile
from ..packages import database
from ..records import manifest
from ..refusal import Refusal
from ..steps import Step
from ..system import text_files
from . import (
    fabric_packages,
    kernel_modules,
    method,
    package_family,
    package_sets,
    pins,
    runfile,
    runfile_exchange,
    served_kernels,
)
from .target import Target


class Seen(NamedTuple):
    """What a host has of the driver.

    :ivar there: {name: version} of the driver's packages that are installed.
    :ivar headers: {release: package} of the headers that kernels lack and can have.
    :ivar is_in_place: whether all that the wanted .run placed is there.
    :ivar lacking: the kernels that have not the wanted modules.
    :ivar replaced: those of them that have others.
    :ivar missing: packages of the distribution that the work takes, and are not there.
    :ivar file: where the wanted .run lies, '' where it does not or nothing is to be done with it.
    :ivar left: [(name, version)] of further trees and sources in DKMS.
    :ivar is_unpacked: whether an earlier run left unpacked files.
    :ivar fabric: what there is to do about Fabric Manager.
    """

    there: dict[str, str]
    headers: dict[str, str]
    is_in_place: bool
    lacking: list[str]
    replaced: list[str]
    missing: list[str]
    file: str
    left: list[tuple[str, str]]
    is_unpacked: bool
    fabric: fabric_packages.Seen

    @property
    def packages(self) -> dict[str, str]:
        """{name: version} of packages that give way: with a driver, all that came with it.

        Fabric Manager comes by a package alone.
        """
        is_driver = not all(map(beside_runfile.may_stay, self.there))
        return fabric_packages.others(self.there) if is_driver else {}

    @property
    def exchanges(self) -> bool:
        """Whether a driver that may be in use gives way."""
        return bool(self.packages or not self.is_in_place or self.replaced)


def of_host(target: Target, node: Node) -> ByRunfile:
    """Look at a host, and return what there is to do to have the driver by a .run."""
    family = package_family.of_unknown(target.facts, target.wanted["repositories"])
    return ByRunfile(target, node, family, observe(target, node, family))


def observe(target: Target, node: Node, family: package_family.Family) -> Seen:
    """Return what is to be seen of a host."""
    tree, facts, version = node.tree, target.facts, target.wanted["version"]
    driver, there = facts["driver"], package_sets.installed(tree, family)
    headers = served_kernels.offered_headers(target, node)
    name = kernel_modules.OF_RUNFILE
    modules = kernel_modules.Modules(name, version, *target.demands)
    releases = [*target.releases, *headers]
    lacking = kernel_modules.lacking(tree, driver, modules, releases)
    is_in_place = (
        driver["runfile"] == version
        and set(driver["libraries"]) == {version}
        and runfile.is_whole(tree, runfile_exchange.identity_of(target).flavour)
    )
    seen = Seen(
        there=there,
        headers=headers,
        is_in_place=is_in_place,
        lacking=lacking,
        replaced=kernel_modules.replaced(tree, driver, modules, lacking),
        missing=database.missing(["dkms"] if lacking else [], node.run),
        file="",
        left=kernel_modules.others(tree, modules),
        is_unpacked=os.path.isdir(runfile_exchange.WORK_DIR),
        fabric=fabric_packages.observe(target.wanted, facts, there, node),
    )
    # It is some hundred MiB to be read.
    is_of_use = seen.exchanges or seen.lacking
    return seen._replace(file=runfile_exchange.at_hand(target)) if is_of_use else seen


class ByRunfile(method.Method):
    """What there is to do to have the driver by a .run.

    :param target: the wanted driver.
    :param node: the bring.Node.
    :param family: what belongs to a driver of packages.
    :param seen: what was seen of the host.
    """

    found_by = "by packages"

    def __init__(
        self, target: Target, node: Node, family: package_family.Family, seen: Seen
    ) -> None:
        self._target = target
        self._node = node
        self._family = family
        self._seen = seen
        self._kernels = served_kernels.ServedKernels(target, node, seen.headers)
        self._exchange = runfile_exchange.RunfileExchange(target, node, self._kernels, seen.file)

    @property
    def changes_method(self) -> bool:
        """Whether packages have brought a driver."""
        return bool(self._seen.packages)

    @property
    def version(self) -> str:
        """The wanted version: a .run is of one."""
        return str(self._target.wanted["version"])

    @property
    def version_to_be(self) -> str:
        """The same."""
        return self.version

    @property
    def builds(self) -> bool:
        """Whether modules have to be built."""
        return bool(self._seen.lacking)

    @property
    def exchanges(self) -> bool:
        """Whether a driver that may be in use gives way."""
        return self._seen.exchanges

    def can_serve(self, release: str) -> bool:
        """Say whether a kernel without headers can have modules."""
        return release in self._seen.headers

    def needs(self) -> list[str]:
        """Return the names of the files of the controller that the host lacks."""
        if not (self.builds or self.exchanges) or self._seen.file:
            return []
        file = self._target.wanted["file"]
        return [] if "://" in file or file in self._node.sent else [file]

    def preparing(self) -> list[Step]:
        """Return what is done beside the driver that is in use.

        The file comes first: where it is not the one that is wanted, nothing else is done.
        """
        if not (self.builds or self.exchanges):
            return []
        words = f"unpack the .run file of NVIDIA driver {self.version}"
        unpack = Step(words, self._exchange.unpack)
        return [unpack, *self._kernels.installing_tools(self._seen.missing)]

    def building(self) -> list[Step]:
        """Return what makes the modules of every kernel, beside those that are there."""
        if not self.builds:
            return []
        words = f"build the {self._target.module_type} modules of {self.version} for kernel "
        return [Step(words + ", ".join(self._seen.lacking), self._exchange.build)]

    def exchanging(self) -> list[Step]:
        """Return what takes the place of the driver that is there."""
        seen, version = self._seen, self.version
        if not self.exchanges:
            return []
        if seen.is_in_place and not seen.packages:
            words = f"exchange the modules for the {self._target.module_type} ones"
            return [Step(words, self._exchange.exchange_modules)]
        steps = []
        if seen.packages:
            steps.append(package_sets.removal(sorted(seen.packages), self._family, self._node))
        before = self._target.facts["driver"]["runfile"]
        words = f"install NVIDIA driver {version} from its .run file"
        if before not in ("", version):
            words = f"replace NVIDIA driver {before} by {version} from its .run file"
        return [*steps, Step(words, self._exchange.install)]

    def finishing(self) -> list[Step]:
        """Return what is done once the driver is in place.

        :raises Refusal: NVSwitches need a Fabric Manager that the host is not offered.
        """
        fabric = self._seen.fabric
        return [
            *fabric_packages.installing(fabric, self._family, self._node),
            *self._settling_modules(),
            *text_files.settling(fabric.files, fabric.there),
        ]

    def _settling_modules(self) -> list[Step]:
        steps, seen = [], self._seen
        if self.builds and not self.exchanges:
            words = f"install the modules of {self.version} for kernel {', '.join(seen.lacking)}"
            steps.append(Step(words, self._exchange.install_modules))
        elif seen.left and not self.exchanges:
            names = ", ".join(f"{name} {version}" for name, version in seen.left)
            steps.append(Step(f"remove the modules of {names}", self._exchange.install_modules))
        if self.builds or self.exchanges or seen.is_unpacked:
            words = f"keep the .run file of NVIDIA driver {self.version}"
            steps.append(Step(words, self._exchange.tidy))
        return steps

    def going_back(self) -> str:
        """Bring back the driver that was there; return a sentence about what came of it."""
        before = self._target.facts["driver"]["runfile"]
        if self._seen.packages:
            return self._exchange.bring_back_packages(self._seen.packages, self._family)
        if before in ("", self.version):
            return "There was no other driver before"
        return runfile_exchange.reinstall(before, self._target, self._node)

    def prove(self, facts: Surveyed) -> str:
        """Hold the host to having this driver, for every kernel; return its version.

        :param facts: as they are now.
        :raises Refusal: it has not.
        """
        kernel_modules.prove(self._node.tree, self._exchange.modules, self._kernels.releases)
        driver = facts["driver"]
        if driver["runfile"] != self.version or set(driver["libraries"]) != {self.version}:
            raise Refusal(
                f"NVIDIA driver {self.version}",
                f"libraries of {' and '.join(driver['libraries']) or 'no version'} are there",
                "Look who else installs them, and run again",
            )
        return self.version

    def manifest(self) -> list[dict[str, Any]]:
        """Return the entries of what a .run placed, of what later kernels are served from, and of
        what holds Fabric Manager.
        """
        deployed = runfile.deployed(self._node.tree)
        paths = [*deployed, *kernel_modules.records(self._exchange.modules)]
        return [
            *(manifest.presence(path) for path in paths if os.path.lexists(path)),
            *(manifest.file(path) for path in pins.PATHS if os.path.isfile(path)),
        ]
