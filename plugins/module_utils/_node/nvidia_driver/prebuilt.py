# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Modules that the distribution has built and signed: a package of them for each kernel.

A further package follows a metapackage of the kernel, such as linux-image-generic, and brings the
modules of the next kernel along with it. Their versions are those of the kernel; which driver
they are for stands in what they depend on.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..kernel import kernels, secure_boot
from ..packages import deb_version, stack_packages, versions
from ..refusal import Refusal
from ..system.root import Root
from . import package_family
from .target import Target

#: What builds modules by DKMS, and has no place beside these.
BUILDERS = "nvidia-dkms-*"
_METAPACKAGE = re.compile(r"linux-image-(?!unsigned-)([a-z].*)")
_DRIVER = re.compile(r"\bnvidia-kernel-common-\S+ \(>= ([0-9]+(?:\.[0-9]+)+)")
_EXACT = re.compile(r"(\S+) \(= (\S+)\)")
_PATIENCE_S = 30


class Offer(NamedTuple):
    """A version of a package that brings modules.

    :ivar version: its own.
    :ivar driver: that of the driver that they are for.
    :ivar exact: {name: version} of those that it needs in one version alone.
    """

    version: str
    driver: str
    exact: dict[str, str]


class Prebuilt(NamedTuple):
    """The modules that a host is offered for its kernels, and is to have.

    :ivar why: why these, in words.
    :ivar names: the packages of the driver besides them.
    :ivar stem: what the names of their packages begin with.
    :ivar kernels: {release: package} of the kernels that are to have some.
    :ivar metapackages: the packages that follow a metapackage of the kernel.
    :ivar offers: {package: [Offer]} of both.
    """

    why: str
    names: list[str]
    stem: str
    kernels: dict[str, str]
    metapackages: list[str]
    offers: dict[str, list[Offer]]

    @property
    def drivers(self) -> set[str]:
        """The versions of the driver that all kernels have modules of."""
        return set.intersection(
            *(
                {offer.driver for offer in self.offers.get(name, [])}
                for name in self.kernels.values()
            )
        )

    def packages(self, driver: str) -> dict[str, str]:
        """Return {package: version} of what brings the modules of a driver to all kernels.

        What would follow a metapackage to a kernel that is not there would bring that kernel.
        """
        found: dict[str, str] = {}
        for name in self.kernels.values():
            for offer in self._offers(name, driver)[:1]:
                found.update({**offer.exact, name: offer.version})
        for name in self.metapackages:
            for offer in self._offers(name, driver):
                if offer.exact.items() <= found.items():
                    found.setdefault(name, offer.version)
        return found

    def refuse_without(self, releases: Iterable[str], driver: str) -> None:
        """Raise a Refusal where a kernel is offered no modules of a driver."""
        for release in releases:
            name = self.kernels[release]
            if not self._offers(name, driver):
                others = ", ".join(sorted({offer.driver for offer in self.offers[name]}))
                raise Refusal(
                    f"kernel {release}",
                    f"there are no modules of driver {driver} for it that are built already; "
                    f"{name} is offered for {others or 'none'}",
                    "Remove that kernel, or go to a driver that has modules for all of them",
                )

    def fitting(
        self, offers: dict[str, list[str]], family: package_family.Family
    ) -> dict[str, list[str]]:
        """Return those offers of packages of the driver that there are modules for.

        :param offers: {name: [version]}.
        """
        drivers = self.drivers
        return {
            name: [
                offer
                for offer in found
                if versions.upstream(offer) in drivers
                or not package_family.is_versioned(name, family)
            ]
            for name, found in offers.items()
        }

    def has_no_place_for(self, name: str, family: package_family.Family) -> bool:
        """Say whether a package builds modules, or brings those of another driver."""
        if fnmatch.fnmatchcase(name, BUILDERS):
            return True
        # Signatures serve all drivers, and those of either kind begin alike.
        of_driver = re.fullmatch(r"linux-(?:modules|objects)-(.*)", name)
        own = self.stem.partition("linux-modules-")[2]
        return bool(
            of_driver
            and package_family.brings_modules(name, family)
            and not of_driver.group(1).startswith(own)
        )

    def _offers(self, name: str, driver: str) -> list[Offer]:
        """Return the offers of a package that are for a driver, the newest first."""
        fitting = [offer for offer in self.offers[name] if offer.driver == driver]
        return sorted(fitting, key=lambda offer: deb_version.key(offer.version), reverse=True)


def of_host(target: Target, node: Node, patterns: Iterable[str]) -> Prebuilt | None:
    """Return the modules that a host is to have so; None where DKMS builds them there.

    :param patterns: of the names of packages that bring such modules.
    """
    names = target.package_row.get("prebuilt", {}).get(target.module_type)
    rows = kernels.served(target.facts["kernels"])
    # These are linked to the kernel's own RDMA core.
    if not names or not rows or target.demands.rdma:
        return None
    why = _why(target.facts, node.tree, patterns)
    if not why:
        return None
    template = next(name for name in names if "{kernel}" in name)
    by_release = {row["release"]: template.format(kernel=row["release"]) for row in rows}
    following = stack_packages.installed(node.tree, _METAPACKAGE.fullmatch)
    metapackages = [
        template.format(kernel=name.replace("linux-image-", "")) for name in sorted(following)
    ]
    found = Prebuilt(
        why,
        [name for name in names if name != template],
        template.replace("{kernel}", ""),
        by_release,
        metapackages,
        offered(node.tree, [*by_release.values(), *metapackages]),
    )
    branch = target.wanted["branch"]
    is_offered = branch in map(versions.branch, found.drivers)
    return found if is_offered or _has_all(target, by_release) else None


def offered(tree: Root, names: Iterable[str]) -> dict[str, list[Offer]]:
    """Return {package: [Offer]} of what apt's lists on the host have.

    :param names: of packages.
    """
    found: dict[str, list[Offer]] = {name: [] for name in names}
    for name in found:
        for block in tree.answer("apt-cache", "show", name, patience_s=_PATIENCE_S).split("\n\n"):
            fields = dict(re.findall(r"^(\S+): (.*)$", block, re.MULTILINE))
            driver = _DRIVER.search(fields.get("Depends", ""))
            if fields.get("Package") == name and driver:
                exact = dict(_EXACT.findall(fields["Depends"]))
                found[name].append(Offer(fields["Version"], driver.group(1), exact))
    return found


def _has_all(target: Target, releases: Iterable[str]) -> bool:
    """Say whether all kernels have such modules already, which an archive may have no longer."""
    places = [target.modules.get(release, {"path": "", "version": ""}) for release in releases]
    return all(
        "/kernel/nvidia-" in row["path"]
        and versions.branch(row["version"]) == target.wanted["branch"]
        for row in places
    )


def _why(facts: Surveyed, tree: Root, patterns: Iterable[str]) -> str:
    """Return why a host is to have modules that are built already, '' where it is not to."""

    def brings(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    if stack_packages.installed(tree, brings):
        return "the host has such modules"
    if secure_boot.lacks_key(facts["secure_boot"]):
        return "Secure Boot is on, and the firmware knows the key that they are signed with"
    return ""
