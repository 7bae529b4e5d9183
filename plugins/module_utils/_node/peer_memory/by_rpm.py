# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nv_peer_mem as RPMs, one for each kernel.

Who built a package stands in itself: its DISTURL is the digest of what it was made from, so that
nothing else has to remember it.
"""

from __future__ import annotations

import collections
import functools
from typing import Any, NamedTuple

from ..component.bring import Node
from ..facts_shape import Kernel, Module, Surveyed
from ..kernel import kernels
from ..steps import Step
from ..system import folders, text_files
from ..system.commands import Execute
from ..system.root import Root
from . import rpm_build
from .delivery import Delivery, Hold
from .rpm_build import ORIGIN, PACKAGE

_TOLD = "[%{=VERSION}-%{=RELEASE}\t%{=DISTURL}\t%{FILENAMES}\n]"
_QUERY = ("env", "HOME=/root", "rpm", "--query", "--queryformat", _TOLD, PACKAGE)
# Beside those of other kernels, of which an upgrade would be the end, and over an older one of the
# same kernel, which goes once this is in place.
_PUT = ("rpm", "--install", "--replacefiles", *rpm_build.AGAIN)
_SETTINGS = "/etc/infiniband"


class Package(NamedTuple):
    """One that is installed.

    :ivar name: with its version and release.
    :ivar origin: its DISTURL.
    :ivar paths: its files and folders.
    """

    name: str
    origin: str
    paths: list[str]


class ByRpm(Delivery["list[Package]"]):
    """nv_peer_mem as packages; packages are all that stays of a build."""

    name = "RPM"

    @staticmethod
    def packages(manager: str) -> list[str]:
        """Return what builds packages, and modules."""
        itself = "rpm" if manager == "apt" else "rpm-build"
        return [itself, "gcc", "make", "patch", "binutils"]

    @staticmethod
    def observe(tree: Root, facts: Surveyed) -> list[Package]:
        """Return the packages of nv_peer_mem that are installed."""
        found = collections.defaultdict(list)
        for line in tree.answer(*_QUERY).splitlines():
            version, origin, path = line.split("\t")
            found[f"{PACKAGE}-{version}", origin].append(path)
        return [Package(*which, paths) for which, paths in found.items()]

    @property
    def lacks_sources(self) -> bool:
        """Whether an archive is needed: always, for nothing of it stays."""
        return True

    @property
    def foreign(self) -> str:
        """A path of a package of that name which is another one's, '' for none."""
        others = (package for package in self.there if not package.origin.startswith(ORIGIN))
        return next((path for package in others for path in package.paths), "")

    @property
    def files(self) -> dict[str, text_files.TextFile]:
        """None: it has no settings of its own."""
        return {}

    def has(self, release: str) -> bool:
        """Say whether a package has the module of a kernel, made from the wanted sources."""
        return any(self._is_wanted(package) for package in self._of(release))

    def has_put(self, row: Module) -> bool:
        """Say whether a module on disk is in a package."""
        return any(row["path"] in package.paths for package in self.there)

    def places(self, release: str) -> list[str]:
        """Return the path at which a package has the module for a kernel."""
        return [rpm_build.module_of(release)]

    def build(self, kernels: list[Kernel], hold: Hold) -> None:
        """Build the packages of some kernels, beside what is there, and install nothing."""
        self._build.make(kernels, hold)

    def install(self, releases: list[str]) -> None:
        """Put the packages in place that were built, and older ones of these kernels away."""
        execute = self.node.execute
        built = [self._build.built(release) for release in releases]
        rpm_build.ended(f"install {PACKAGE}", [*_PUT, *built], execute)
        names = [rpm_build.name_of(self.order.tag, release) for release in releases]
        before = {package.name for release in releases for package in self._of(release)}
        for name in sorted(before.difference(names)):
            _erase(name, execute)
        _list_modules(releases, execute)

    def removing(self) -> list[Step]:
        """Return what removes the packages that are not to be there; see :attr:`foreign`."""
        return [
            Step(
                f"remove the package {package.name}",
                functools.partial(_remove, package, self.node),
            )
            for package in self.there
            if not self._is_kept(package)
        ]

    def manifest(self) -> list[dict[str, Any]]:
        """Return nothing: modules are all that a package has of use."""
        return []

    @property
    def _build(self) -> rpm_build.RpmBuild:
        return rpm_build.RpmBuild(self.order, self.node)

    def _of(self, release: str) -> list[Package]:
        """Return the packages that have a module for a kernel."""
        return [package for package in self.there if rpm_build.module_of(release) in package.paths]

    def _is_wanted(self, package: Package) -> bool:
        return package.origin == f"{ORIGIN}{self.order.made_from}"

    def _is_kept(self, package: Package) -> bool:
        """Say whether a package is wanted, or gives way when the wanted one is installed.

        A run that was killed right then leaves both.
        """
        return any(
            self._is_wanted(package) or not self.has(release)
            for release in self.order.releases
            if package in self._of(release)
        )


def _remove(package: Package, node: Node) -> None:
    _erase(package.name, node.execute)
    there = [path.split("/")[3] for path in package.paths if path.endswith(".ko")]
    # There are no modules to list of a kernel that is no more.
    left = [name for name in there if node.tree.exists(f"{kernels.MODULES}/{name}")]
    _list_modules(left, node.execute)
    # A package of RPM has its files, and not the folders on the way to them.
    folders.remove_if_empty(node.tree.path(_SETTINGS))


def _erase(name: str, execute: Execute) -> None:
    rpm_build.ended(f"remove {name}", ["rpm", "--erase", *rpm_build.AS_IT_IS, name], execute)


def _list_modules(releases: list[str], execute: Execute) -> None:
    for release in releases:
        rpm_build.ended(f"list the modules of kernel {release}", ["depmod", release], execute)
