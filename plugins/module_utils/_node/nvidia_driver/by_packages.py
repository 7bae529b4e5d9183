# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted driver by packages: of its branch, all in one version, and held there."""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..packages import database, repositories, stack_packages
from ..packages.pins import DNF_PLUGIN
from ..records import manifest
from ..refusal import Refusal
from ..steps import Step
from ..system import text_files
from . import (
    kernel_modules,
    method,
    package_archives,
    package_family,
    package_sets,
    pins,
    runfile,
    served_kernels,
)
from .package_exchange import PackageExchange
from .target import Target
from .wanted_packages import WantedPackages


class Seen(NamedTuple):
    """What a host has of the driver's packages, and what it is offered.

    :ivar installed: {name: version} of those that are there.
    :ivar unfinished: the same of those that dpkg did not end with.
    :ivar lost: the same of those that came with the driver that stays, and were taken away since.
    :ivar left: names of removed packages whose settings are there.
    :ivar headers: {release: package} of the headers that kernels lack and can have.
    :ivar lacking: the kernels that lack the modules of what is installed, where that stays.
    :ivar missing: packages of the distribution that the work takes, and are not there.
    :ivar sources: {path: TextFile} of what is to tell of the repository, and does not.
    :ivar offers: {name: [version]} of what is to come, and of what is there of other branches.
    :ivar passed_over: the newest version, where the archive stopped it; '' otherwise.
    :ivar pins: {path: TextFile} of what holds the packages that are there.
    :ivar are_held: whether that is as it is to be.
    """

    installed: dict[str, str]
    unfinished: dict[str, str]
    lost: dict[str, str]
    left: list[str]
    headers: dict[str, str]
    lacking: list[str]
    missing: list[str]
    sources: dict[str, text_files.TextFile]
    offers: dict[str, list[str]]
    passed_over: str
    pins: dict[str, text_files.TextFile]
    are_held: bool


def of_host(target: Target, node: Node) -> ByPackages:
    """Look at a host, and return what there is to do to have the driver by packages.

    :raises Refusal: there are none for it.
    """
    packages = WantedPackages(target, node)
    return ByPackages(target, node, packages, observe(target, node, packages))


def observe(target: Target, node: Node, packages: WantedPackages) -> Seen:
    """Return what is to be seen of a host."""
    tree, facts = node.tree, target.facts
    installed = package_sets.installed(tree, packages.family)
    unfinished = package_sets.unfinished(tree, packages.family)
    # What is built already takes no headers.
    headers = {} if packages.prebuilt else served_kernels.offered_headers(target, node)
    exchanges = _exchanges(target, packages, installed, unfinished)
    sources = sources_of(target, node, packages).stale()
    # Lists that are fetched later do not tell yet what comes, and what gives way.
    may_ask = exchanges and not sources
    asked = packages.names if may_ask else []
    others = packages.of_other_branches(installed) if may_ask else []
    offers = packages.manager.offered(tree, [*asked, *others])
    version = packages.version_of(installed) or packages.branch
    lost = {} if exchanges else _lost(packages, version, installed)
    there = {**installed, **lost}
    held_by = pins.wanted_files(facts["pkg_mgr"], there, version, packages.family)
    return Seen(
        installed=installed,
        unfinished=unfinished,
        lost=lost,
        left=stack_packages.residual(tree, lambda _name: True),
        headers=headers,
        lacking=[] if exchanges else _lacking(target, node, packages, version, headers),
        missing=database.missing(_tools(target, packages, exchanges), node.run),
        sources=sources,
        offers=offers,
        passed_over=packages.passed_over(offers, packages.manager.stopped(tree, asked)),
        pins=held_by,
        are_held=not text_files.stale(held_by),
    )


def sources_of(target: Target, node: Node, packages: WantedPackages) -> repositories.Sources:
    """Return where the host takes the packages from."""
    address = target.wanted["repository_url"]
    at = (packages.repository, target.facts, node.tree, address)
    return repositories.Sources(repositories.DRIVER, *at)


def _tools(target: Target, packages: WantedPackages, exchanges: bool) -> list[str]:
    """Return the packages of the distribution that the work takes."""
    # What builds the modules has to be there before the packages that would bring it along.
    tools = ["dkms"] if exchanges and not packages.prebuilt else []
    # dnf holds to its list of versions by a plugin alone.
    return tools if target.facts["pkg_mgr"] == "apt" else [*tools, DNF_PLUGIN]


def _exchanges(
    target: Target,
    packages: WantedPackages,
    installed: dict[str, str],
    unfinished: dict[str, str],
) -> bool:
    is_whole = packages.are_in_place(installed) and not unfinished
    return bool(target.facts["driver"]["runfile"]) or not is_whole


def _lost(packages: WantedPackages, version: str, installed: dict[str, str]) -> dict[str, str]:
    """Return {name: version} of what came with the driver that is there, and was taken away since.

    What is kept of it tells. Neither manager looks for what somebody took from below a package.
    Modules that the distribution has built go with their kernel.
    """
    kept = package_archives.kept_versions(version, packages.manager)
    return {
        name: kept[name]
        for name in kept
        if name not in installed and not package_family.brings_modules(name, packages.family)
    }


def _lacking(
    target: Target, node: Node, packages: WantedPackages, version: str, headers: dict[str, str]
) -> list[str]:
    """Return the kernels that lack the modules of what is installed."""
    if packages.prebuilt:
        modules = kernel_modules.prebuilt(version, target.demands)
        releases = list(packages.prebuilt.kernels)
        return kernel_modules.lacking(node.tree, target.facts["driver"], modules, releases)
    driver, releases = target.facts["driver"], [*target.releases, *headers]
    of_dkms = kernel_modules.of_packages(driver, version, target.demands)
    if of_dkms is None:
        return releases
    return kernel_modules.lacking(node.tree, driver, of_dkms, releases)


class ByPackages(method.Method):
    """What there is to do to have the driver by packages.

    :param target: the wanted driver.
    :param node: the bring.Node.
    :param packages: those that bring it.
    :param seen: what was seen of the host.
    """

    found_by = "by a .run file"

    def __init__(self, target: Target, node: Node, packages: WantedPackages, seen: Seen) -> None:
        self._target = target
        self._node = node
        self._packages = packages
        self._seen = seen
        others = packages.prebuilt.kernels if packages.prebuilt else None
        self._kernels = served_kernels.ServedKernels(target, node, seen.headers, others)
        self._exchange = PackageExchange(
            target, node, packages, self._kernels, seen.installed, seen.unfinished, seen.left
        )

    @property
    def changes_method(self) -> bool:
        """Whether a .run has brought a driver."""
        return bool(self._target.facts["driver"]["runfile"])

    @property
    def version(self) -> str:
        """The driver's version that was installed, or the branch where none was."""
        return self._packages.version_of(self._seen.installed) or self._packages.branch

    @property
    def version_to_be(self) -> str:
        """The version that will be installed, '' as long as the repository has to tell."""
        return "" if self.exchanges else self.version

    @property
    def builds(self) -> bool:
        """Whether modules have to be built."""
        return not self._packages.prebuilt and bool(self.exchanges or self._seen.lacking)

    @property
    def exchanges(self) -> bool:
        """Whether a driver that may be in use gives way."""
        seen = self._seen
        return _exchanges(self._target, self._packages, seen.installed, seen.unfinished)

    def can_serve(self, release: str) -> bool:
        """Say whether a kernel without headers can have modules."""
        is_built = self._packages.prebuilt and release in self._packages.prebuilt.kernels
        return release in self._seen.headers or bool(is_built)

    def needs(self) -> list[str]:
        """Return the names of files of the controller that the host lacks: packages need none."""
        return []

    def preparing(self) -> list[Step]:
        """Return what is done beside the driver that is in use."""
        execute = self._node.execute
        sources = sources_of(self._target, self._node, self._packages)
        return [
            *sources.offering_of(self._seen.sources, execute),
            *self._kernels.installing_tools(self._seen.missing),
        ]

    def building(self) -> list[Step]:
        """Return what makes the modules of every kernel, beside those that are there."""
        if not self.exchanges:
            return []
        words = f"fetch {', '.join(self._packages.names)}"
        if self._seen.passed_over:
            words += f", and not {self._seen.passed_over}, which the archive stopped"
        fetch = Step(words, self._exchange.fetch)
        if self._packages.prebuilt:
            return [fetch]
        words = f"build the {self._target.module_type} modules of branch {self._packages.branch}"
        releases = ", ".join(self._kernels.releases)
        return [fetch, Step(f"{words} for kernel {releases}", self._exchange.build)]

    def exchanging(self) -> list[Step]:
        """Return what takes the place of the driver that is there."""
        if not self.exchanges:
            return []
        steps = []
        before = self._target.facts["driver"]["runfile"]
        if before:
            uninstall = functools.partial(runfile.uninstall, self._node.execute, self._node.tree)
            steps.append(runfile.removal(before, uninstall))
        words = f"install {', '.join(self._packages.names)} of branch {self._packages.branch}"
        if self._replaced:
            words += f" in place of {self._replaced}"
        if self._packages.prebuilt:
            kernels = ", ".join(self._kernels.releases)
            words += (
                f", with modules for kernel {kernels} that the distribution has built and signed: "
                f"{self._packages.prebuilt.why}"
            )
        return [*steps, Step(words, self._exchange.install)]

    def finishing(self) -> list[Step]:
        """Return what is done once the driver is in place."""
        steps, seen = [], self._seen
        if seen.lost:
            words = f"install {', '.join(sorted(seen.lost))} of {self.version} again"
            restore = functools.partial(self._exchange.restore, seen.lost)
            steps.append(Step(words, restore))
        if seen.lacking:
            if self._packages.prebuilt:
                self._packages.prebuilt.refuse_without(seen.lacking, self.version)
            verb = "install" if self._packages.prebuilt else "build"
            words = f"{verb} the modules of {self.version} for kernel {', '.join(seen.lacking)}"
            steps.append(Step(words, self._exchange.install_modules))
        if self.exchanges or not seen.are_held:
            steps.append(Step(f"hold the packages by {', '.join(seen.pins)}", self._exchange.hold))
        if self.exchanges and self._replaced:
            words = f"purge the settings of {self._replaced}"
            steps.append(Step(words, self._exchange.forget))
        return steps

    @property
    def _replaced(self) -> str:
        """What goes with the exchange, in words, as far as the lists on the host tell."""
        there = self._seen.installed
        if self._packages.of_other_branches(there) and self._seen.sources:
            return f"driver {self._packages.driver_of(there)}"
        return ", ".join(self._packages.replaced(there, self._seen.offers))

    def going_back(self) -> str:
        """Bring back the driver that was there; return a sentence about what came of it."""
        return self._exchange.going_back()

    def prove(self, facts: Surveyed) -> str:
        """Hold the host to having this driver, for every kernel; return its version.

        :param facts: as they are now.
        :raises Refusal: it has not.
        """
        version = self._exchange.version()
        modules = self._exchange.modules(version)
        if modules is None:
            raise Refusal(
                f"NVIDIA driver {version}",
                "DKMS knows no modules of it",
                "Look at `dkms status`, and run again",
            )
        kernel_modules.prove(self._node.tree, modules, self._kernels.releases)
        if set(facts["driver"]["libraries"]) != {version}:
            raise Refusal(
                f"NVIDIA driver {version}",
                f"libraries of {' and '.join(facts['driver']['libraries']) or 'no version'} are "
                "there",
                "Look who else installs them, and run again",
            )
        return version

    def manifest(self) -> list[dict[str, Any]]:
        """Return the entries of the packages and of what tells and holds them."""
        paths = [*repositories.paths(repositories.DRIVER), *pins.PATHS]
        return [
            manifest.packages(pins.held(self._exchange.installed(), self._packages.family)),
            *(manifest.file(path) for path in paths if os.path.isfile(path)),
        ]
