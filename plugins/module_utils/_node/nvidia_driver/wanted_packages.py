# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packages that bring the wanted driver, held against those that a host has."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable

from ..component.bring import Node
from ..packages import deb_version, package_manager, versions
from ..refusal import Refusal
from . import package_archives, package_choice, package_family, prebuilt
from .target import Target


class WantedPackages:
    """The packages that bring a branch of the driver to one host.

    :param target: the wanted driver.
    :param node: the bring.Node.
    :raises Refusal: there are none.

    :ivar repository: the catalog's row of where they are from.
    :ivar family: all that belongs to the driver there.
    :ivar names: those that bring it.
    :ivar prebuilt: the modules that are built already, None where DKMS builds them.
    :ivar fabric_manager: what Fabric Manager may be called, [] where the host needs none.
    :ivar manager: what manages the host's packages.
    """

    def __init__(self, target: Target, node: Node) -> None:
        wanted, row = target.wanted, target.package_row
        self.branch = wanted["branch"]
        self.repository = wanted["repositories"][row["repository"]]
        self.family = package_family.of(wanted["repositories"], row["repository"])
        self.prebuilt = prebuilt.of_host(target, node, self.family.modules)
        by_dkms = row["packages"][target.module_type]
        self.names = list(self.prebuilt.names if self.prebuilt else by_dkms)
        if wanted["persistence"] and "persistenced" in self.repository:
            self.names.append(self.repository["persistenced"])
        self._module_type = target.module_type
        self._others = [
            name for names in row["packages"].values() for name in names if name not in self.names
        ]
        self.fabric_manager = (
            package_choice.fabric_manager_names(self.repository, self.branch)
            if target.facts["nvswitches"]
            else []
        )
        self._needs_fabric_manager = bool(target.facts["nvswitches"])
        self.manager = package_manager.named(target.facts["pkg_mgr"])

    def version_of(self, there: dict[str, str]) -> str:
        """Return the one version of the driver among installed packages, '' without one.

        :param there: {name: version}.
        """
        named = set(self.names).intersection(there)
        asked = [name for name in named if package_family.is_versioned(name, self.family)]
        found = {versions.upstream(there[name]) for name in asked}
        return found.pop() if len(found) == 1 else ""

    def driver_of(self, there: dict[str, str]) -> str:
        """Return the version of the driver that packages brought, '' for none.

        Others may be beside it.
        """
        found = collections.Counter(
            versions.upstream(version)
            for name, version in there.items()
            if package_family.is_bound(name, self.family)
        )
        del found[""]
        return found.most_common(1)[0][0] if found else ""

    def are_in_place(self, there: dict[str, str]) -> bool:
        """Say whether all of them are there, in one version of the branch, and none of others."""
        version = self.version_of(there)
        has_all = all(name in there for name in self.names)
        has_none_of_others = not self.of_other_kind(there) and not self.of_other_branches(there)
        is_branch = versions.branch(version) == self.branch
        return has_all and has_none_of_others and is_branch and self._manage_fabric(there, version)

    def of_other_kind(self, there: Iterable[str]) -> set[str]:
        """Return the names of those packages that belong to modules of another kind alone."""
        either = ("", self._module_type)
        return {
            name
            for name in there
            if name in self._others
            or package_family.kind(name, self.family) not in either
            or self._is_of_other_source(name)
        }

    def of_other_branches(self, there: dict[str, str]) -> list[str]:
        """Return the names of the installed packages of another branch."""
        return package_choice.of_other_branches(there, self.branch, self.family)

    def replaced(self, there: dict[str, str], offers: dict[str, list[str]]) -> list[str]:
        """Return the names of those that go when these come, as far as offers tell.

        :param offers: {name: [version]} of those that are of another branch.
        """
        offered = {
            name
            for name, found in offers.items()
            if self.branch in {versions.branch(versions.upstream(offer)) for offer in found}
        }
        others = self.of_other_kind(there)
        return sorted(others.union(self.of_other_branches(there)).difference(offered, self.names))

    def to_ask_for(self, there: dict[str, str]) -> list[str]:
        """Return the names whose offers decide what is installed."""
        successors = [package_choice.successor(*row, self.branch) for row in there.items()]
        return sorted({*self.names, *self.fabric_manager, *there, *successors})

    def passed_over(self, offers: dict[str, list[str]], stopped: dict[str, list[str]]) -> str:
        """Return the newest version of the branch where the archive stopped it, '' otherwise.

        :param offers: {name: [version]} of the packages that bring it.
        :param stopped: what repositories.stopped says of them.
        """
        given = self._of_branch(package_choice.without(offers, stopped, ""))
        held_back = self._of_branch(stopped)
        newest = max([*given, *held_back], key=deb_version.key, default="")
        return "" if newest in given else newest

    def choice(
        self, there: dict[str, str], offers: dict[str, list[str]], stopped: dict[str, list[str]]
    ) -> tuple[package_choice.Choice, dict[str, str]]:
        """Return (what is to be installed, {package: path} of what of it lies on the host).

        :param there: {name: version} of those that were installed before.
        :param offers: {name: [version]} of :meth:`to_ask_for`.
        :param stopped: what repositories.stopped says of them.
        :raises Refusal: it is not to be had.
        """
        passed_over = self.passed_over(offers, stopped)
        offers = package_choice.without(offers, stopped, self.version_of(there))
        try:
            return self._choice(there, offers)
        except Refusal as refusal:
            if not passed_over:
                raise
            because = f"{refusal.because}; the archive stopped {passed_over}"
            raise Refusal(refusal.what, because, refusal.remedy) from refusal

    def _choice(
        self, there: dict[str, str], offers: dict[str, list[str]]
    ) -> tuple[package_choice.Choice, dict[str, str]]:
        choice, archives = self._choice_of_driver(there, offers)
        others = self.of_other_kind(there)
        choice = package_choice.along(choice, there, offers, self.family, others)
        if self.prebuilt:
            modules = self.prebuilt.packages(choice.driver)
            choice = choice._replace(packages={**choice.packages, **modules})
        if self.fabric_manager:
            choice = package_choice.with_fabric_manager(choice, self.fabric_manager, offers)
        return choice, archives

    def _choice_of_driver(
        self, there: dict[str, str], offers: dict[str, list[str]]
    ) -> tuple[package_choice.Choice, dict[str, str]]:
        """Return the same of the packages that bring the driver, without what else there is."""
        if self.prebuilt:
            offers = self.prebuilt.fitting(offers, self.family)
        asked = (self.names, offers, self.branch, self.family)
        version = self.version_of(there)
        # What is there stays, where it is of the branch and can be had whole.
        if versions.branch(version) == self.branch:
            with contextlib.suppress(Refusal):
                return package_choice.choose(*asked, version), {}
        try:
            return package_choice.choose(*asked), {}
        except Refusal:
            # An archive may have a branch no longer that the host had before.
            kept = package_archives.kept_choice(self.names, self.branch, self.manager)
            if kept is None:
                raise
            return kept

    def _is_of_other_source(self, name: str) -> bool:
        """Say whether a package belongs to modules that come another way than the wanted ones."""
        if self.prebuilt is None:
            return package_family.brings_modules(name, self.family)
        return self.prebuilt.has_no_place_for(name, self.family)

    def _of_branch(self, offers: dict[str, list[str]]) -> set[str]:
        """Return the versions of the driver that packages which bring it are offered in."""
        found = {
            versions.upstream(offer)
            for name in self.names
            if package_family.is_versioned(name, self.family)
            for offer in offers.get(name, [])
        }
        return {driver for driver in found if versions.branch(driver) == self.branch}

    def _manage_fabric(self, there: dict[str, str], version: str) -> bool:
        """Say whether Fabric Manager is there, of the driver's version, or needs not to be."""
        found = [there[name] for name in self.fabric_manager if name in there]
        is_there = any(versions.upstream(manager) == version for manager in found)
        return is_there or not self._needs_fabric_manager
