# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DOCA-OFED by packages, from the vendor's repository or a mirror of it.

NVIDIA DOCA Documentation 3.2.1, "DOCA-Host Installation and Upgrade": from 2.6.0 on one release of
DOCA gives way to another by the package manager; MLNX_OFED is uninstalled before. A repository has
one release, in which the package of the modules tells the version of the stack; where it does not,
the profile has that of DOCA, of which the catalog knows the series. Either way packages are told
from those of another series. Which build of a series it is, is wanted only where it is named.
"""

from __future__ import annotations

import functools
import shutil
from functools import cached_property

from ..packages import (
    apt_transaction,
    deb_version,
    package_manager,
    pins,
    repositories,
    stack_packages,
)
from ..rdma import ofed_release, rdma_stack
from ..refusal import Refusal
from . import method, note, package_sets

# Installed, or upgraded, it updates the firmware of the adapters.
_FIRMWARE = "mlnx-fw-updater"
# dnf(8): our own pins are passed, and packages of the distribution give way.
_DNF_OPTIONS = ("--disableplugin=versionlock", "--allowerasing")


class Repository(method.Method):
    """What there is to do to have DOCA-OFED; see mlnx_ofed/converge.py."""

    def __init__(self, wanted, host):
        super().__init__(wanted, host)
        self._version = wanted["version"]
        self._what = f"install {rdma_stack.called(wanted)}"
        self._is_apt = self._facts["pkg_mgr"] == "apt"
        self._sources = repositories.Sources(
            repositories.RDMA,
            wanted["repository"],
            self._facts,
            host.tree,
            wanted["repository_url"],
        )

    @cached_property
    def exchanges(self):
        """Whether packages give way, or are put in place anew."""
        is_it = self._is_wanted(self._found, self._packages)
        # The modules come by the package alone that tells DKMS of them.
        return not is_it or not self.is_whole or bool(self.lacking and not self._trees_before)

    def _is_wanted(self, found, packages):
        """Say whether it is the wanted stack that is there.

        :param found: what rdma_stack.stack says of it.
        :param packages: {name: version}.
        """
        profile = packages.get(ofed_release.PROFILE, "")
        return found["kind"] == "doca" and bool(profile) and self._is_it(found["version"], profile)

    def _is_it(self, told, profile):
        """Say whether a version is the wanted one; see ofed_release.is_doca."""
        return ofed_release.is_doca(self._version, self._wanted["doca"], told, profile)

    @cached_property
    def _replaces_other(self):
        """Whether a vendor's stack is there that no packages of DOCA's have brought."""
        return self._found["kind"] != "inbox" and not any(
            name.startswith("doca-") for name in self._packages
        )

    def pins(self):
        """Return {path: TextFile} of what keeps packages of the distribution out."""
        return package_sets.held(self._facts["pkg_mgr"], self.noted)

    def clearing(self):
        """Return the steps that remove what tells of a repository: it is gone by."""
        return []

    # The steps

    def preparing(self):
        """Return what is done beside the stack that is in use."""
        steps = self._sources.offering(self._host.execute)
        if self.exchanges:
            fetch = functools.partial(self._fetch, has_lists=bool(steps))
            steps.append((f"fetch the packages of {rdma_stack.called(self._wanted)}", fetch))
        if self._is_apt:
            return steps
        # dnf holds to its list of versions by a plugin alone.
        names = [pins.DNF_PLUGIN]
        return steps + package_manager.installing(names, self._host.execute, self._host.run)

    def exchanging(self):
        """Return what takes the place of the stack that is there."""
        if not self.exchanges:
            return []
        words = self._what
        if self._found["kind"] != "inbox":
            words += f" in place of {rdma_stack.described(self._found)}"
        return [(words, self._exchange)]

    def _fetch(self, has_lists):
        if not has_lists:
            # A mirror may have got another release since.
            self._sources.offer(self._host.execute)
        if self._replaces_other:
            names = sorted(self._packages)
            package_sets.refuse_dependants(self._what, names, self._host.execute)
        # What a run that was killed has fetched.
        self.tidy()
        self._put(package_manager.required(self._what).fetching_only)

    def _exchange(self):
        if self._replaces_other:
            self.uninstall()
        self._put()
        self.complete(self.kernels)
        found = self._host.survey()["rdma_stack"]
        if not self._is_wanted(found, package_sets.installed(self._tree)):
            raise Refusal(
                self._what,
                f"{rdma_stack.described(found)} is there after it",
                "Look at what else installs packages there, and run again",
            )

    # Packages

    @cached_property
    def _offers(self):
        """{name: newest version} of what the repository has.

        :raises Refusal: it has not what is wanted.
        """
        offers = repositories.offered_by(self._tree, repositories.RDMA)
        newest = {name: max(found, key=deb_version.key) for name, found in offers.items()}
        lacking = [name for name in self._asked if name not in newest]
        told, profile = rdma_stack.modules_version(newest), newest.get(ofed_release.PROFILE, "")
        because = ""
        if lacking:
            because = f"the repository has no {', '.join(lacking)}"
        elif not self._is_it(told, profile):
            modules = told or "of no version that tells"
            because = f"it has {ofed_release.PROFILE} {profile} with modules {modules}"
        if because:
            raise Refusal(
                self._what,
                because,
                "Correct mlnx_ofed_repository_url, or say gpunode_ofed_version as it is there",
            )
        return newest

    @property
    def _asked(self):
        return [ofed_release.PROFILE, *([_FIRMWARE] if self._wanted["firmware_update"] else [])]

    @cached_property
    def _coming(self):
        """{name: version} of what is installed by its name: what is there comes along.

        So does what was there: apt does not look for what somebody took from below a package.
        """
        there = {*self._packages, *self.noted}.difference([_FIRMWARE])
        return {name: self._offers[name] for name in self._offers if name in {*there, *self._asked}}

    def _put(self, *options):
        """Run the transaction that brings all of it.

        :param options: of the package manager's.
        :raises Refusal: it would do harm, or it failed.
        """
        if self._is_apt:
            packages = {name: f"{name}={version}" for name, version in self._coming.items()}
            spared = {*self._offers, _FIRMWARE}
            # What is there in its version may be damaged, or goes before with what is replaced.
            self._by_apt(self._what, packages, spared, self._offers, ("--reinstall", *options))
            return
        # An .rpm's version by its name; of one series.
        series = f"-{self._wanted['doca']}.*" if self._wanted["doca"] else ""
        self._by_dnf(self._what, [f"{ofed_release.PROFILE}{series}", *self._asked[1:]], options)

    def _by_apt(self, what, packages, spared, offers, options=()):
        """Have apt install packages in place of those of a vendor that are there.

        :param packages: {name: how apt is told of it}.
        :param spared: names of packages that stay.
        :param offers: {name: version} in which they come, and nothing else that they need.
        """
        others = [name for name in package_sets.of_vendor(self._tree) if name not in spared]
        names = [*packages.values(), *(f"{name}-" for name in others)]
        apt, coming = package_manager.Apt(), self._tree.path(note.COMING)
        with apt_transaction.under(package_sets.coming(offers), coming) as own:
            self._transact(what, (*own, *options, *apt.installing), names, apt)

    def _by_dnf(self, what, names, options=()):
        dnf = package_manager.Dnf()
        self._transact(what, (*_DNF_OPTIONS, *options, *dnf.installing), names, dnf)

    def _transact(self, what, verb, names, manager):
        package_manager.transact(
            what, verb, names, manager, self._host.execute, stack_packages.RDMA.fullmatch
        )

    # What is left behind

    def brought(self):
        """Return {name: version} of the installed packages that are of the stack."""
        return package_sets.installed(self._tree)

    def finished(self):
        """Keep the packages that are installed now."""
        note.keep_packages(self._tree, self.brought())

    def tidy(self):
        """Remove what was fetched and not kept, whatever came of it."""
        # As in the bundle's: what cannot go now says why when packages come there again.
        shutil.rmtree(self._tree.path(note.COMING), ignore_errors=True)

    def reinstall(self, packages):
        """Bring back packages that were there, from what is kept of them or offered still.

        :param packages: {name: version}.
        :raises Refusal: it cannot.
        """
        what = "bring back DOCA-OFED"
        if self._is_apt:
            kept = note.kept_packages(self._tree, packages)
            named = {name: kept.get(name, f"{name}={packages[name]}") for name in packages}
            self._by_apt(what, named, packages, packages)
        else:
            # dnf(8), install: it goes back to a version that is named.
            self._by_dnf(what, [f"{name}-{version}" for name, version in packages.items()])
        self.complete(self.kernels)
