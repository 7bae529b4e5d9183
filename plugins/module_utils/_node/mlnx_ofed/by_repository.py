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

import collections.abc
import contextlib
import functools
import re
from collections.abc import Iterator
from functools import cached_property

from ..component.bring import Node
from ..facts_shape import RdmaStackKind
from ..packages import package_manager, repositories, rpm_transaction, stack_packages
from ..packages.package_manager import Manager
from ..rdma import ofed_release, rdma_stack
from ..refusal import Refusal
from ..steps import Step
from ..system.root import Root
from ..system.text_files import TextFile
from . import kernel_modules, note, package_sets, removal
from .method import Method
from .observe import Packages, sources, stack

# Installed, or upgraded, it updates the firmware of the adapters.
_FIRMWARE = "mlnx-fw-updater"
# What has the sources of modules: mlnx-ofed-kernel-dkms, mlnx-ofa_kernel-source.
_SOURCES = re.compile(r".+-(?:dkms|source)")


class ByRepository(Method):
    """What there is to do to have DOCA-OFED."""

    @cached_property
    def exchanges(self) -> bool:
        """Whether packages give way, or are put in place anew."""
        is_it = self._is_wanted(self.found, self.seen.packages.installed)
        # The modules come by the package alone that tells DKMS of them.
        return not is_it or not self.is_whole or bool(self.lacking_core and not self.is_in_dkms)

    @property
    def _what(self) -> str:
        return f"install {rdma_stack.called(self.wanted)}"

    @property
    def comes_by_dkms(self) -> bool:
        """Whether DKMS builds the modules: it does everywhere, see docs/rdma.md."""
        return True

    @cached_property
    def _manager(self) -> Manager:
        return package_manager.named(self.facts["pkg_mgr"])

    def _is_wanted(self, found: RdmaStackKind, packages: dict[str, str]) -> bool:
        """Say whether it is the wanted stack that is there.

        :param found: which one it is.
        :param packages: {name: version}.
        """
        profile = ofed_release.profile(packages)
        return found["kind"] == "doca" and bool(profile) and self._is_it(found["version"], profile)

    def _is_it(self, told: str, profile: str) -> bool:
        """Say whether a version is the wanted one; see ofed_release.is_doca."""
        wanted = self.wanted
        return bool(ofed_release.is_doca(wanted["version"], wanted["doca"], told, profile))

    @property
    def _replaces_other(self) -> bool:
        """Whether a vendor's stack is there that no packages of DOCA's have brought."""
        return self.found["kind"] != "inbox" and not any(
            name.startswith("doca-") and not package_sets.is_canonicals(name)
            for name in self.seen.packages.of_vendor
        )

    def preparing(self) -> list[Step]:
        """Return what is done beside the stack that is in use."""
        node, offering = self.node, self.seen.offering
        steps = self._sources.offering_of(offering, node.execute)
        if self.exchanges:
            fetch = functools.partial(self._fetch, has_lists=bool(offering))
            steps.append(Step(f"fetch the packages of {rdma_stack.called(self.wanted)}", fetch))
        missing = self.seen.missing
        return steps + package_manager.installing_missing(missing, node.execute, node.run)

    def exchanging(self) -> list[Step]:
        """Return what takes the place of the stack that is there."""
        return [Step(self.in_place(self._what), self._exchange)] if self.exchanges else []

    def pins(self, packages: Packages) -> dict[str, TextFile]:
        """Return {path: TextFile} of what keeps packages of the distribution out."""
        held = self.own(packages.brought)
        return package_sets.held(self.facts["pkg_mgr"], held, packages.locked)

    def clearing(self) -> list[Step]:
        """Return the steps that remove what tells of a repository: it is gone by."""
        return []

    # The actions

    @cached_property
    def _sources(self) -> repositories.Sources:
        return sources(self.wanted, self.facts, self.node.tree)

    def _fetch(self, has_lists: bool) -> None:
        if not has_lists:
            # A mirror may have got another release since.
            self._sources.offer(self.node.execute)
        if self._replaces_other:
            names = sorted(self.seen.packages.installed)
            package_sets.refuse_dependants(self._what, names, self.node.execute)
        # What a run that was killed has fetched.
        note.discard_coming(self.node.tree)
        self._put(self._manager.fetching_only)

    def _exchange(self) -> None:
        if self._replaces_other:
            what = f"remove {rdma_stack.described(self.found)}"
            removal.uninstall(what, self.node, self.facts["pkg_mgr"])
        kernel_modules.remove_orphans(self.node)
        rpm_transaction.settle(
            self._coming, _of_rdma, self.node.tree, self.node.execute, self._manager
        )
        with _modules_of_what_came(self):
            self._put()
            left = self._manager.left_over(self._superfluous)
            package_sets.remove(self._what, left, self.node.execute)
        found = stack(self.node.tree)
        if not self._is_wanted(found, package_sets.installed(self.node.tree)):
            raise Refusal(
                self._what,
                f"{rdma_stack.described(found)} is there after it",
                "Look at what else installs packages there, and run again",
            )

    @cached_property
    def _offers(self) -> dict[str, str]:
        """{name: newest version} of what the repository has.

        :raises Refusal: it has not what is wanted.
        """
        offers = self._manager.offered_by(self.node.tree, repositories.RDMA)
        newest = {name: found[0] for name, found in offers.items()}
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
    def _asked(self) -> list[str]:
        return [ofed_release.PROFILE, *([_FIRMWARE] if self.wanted["firmware_update"] else [])]

    @cached_property
    def _coming(self) -> dict[str, str]:
        """{name: version} of what is installed by its name: what is there comes along.

        So does what was there, for apt does not look for what somebody took from below a package,
        and what a transaction was cut at.
        """
        packages, cut = self.seen.packages, package_sets.unfinished(self.node.tree)
        there = {*packages.installed, *packages.brought, *cut}.difference([_FIRMWARE])
        return {name: self._offers[name] for name in self._offers if name in {*there, *self._asked}}

    @property
    def _superfluous(self) -> list[str]:
        """The names of a vendor's packages that are there now, and not in the repository."""
        return _others_than({*self._offers, _FIRMWARE}, self.node)

    def _put(self, *options: str) -> None:
        """Run the transactions that bring all of it.

        :param options: of the package manager's.
        :raises Refusal: it would do harm, or it failed.
        """
        manager, tree = self._manager, self.node.tree
        packages = {name: manager.exactly(name, self._coming[name]) for name in self._coming}
        there = package_sets.installed(tree)
        put = functools.partial(_transact, self.node, self._what, manager, self._offers)
        others = manager.leaving(self._superfluous)
        if manager.reinstalls_alone or package_sets.unfinished(tree):
            # To reinstall what is unpacked alone apt fetches no archive, and fails for lack of it
            # (pkgPackageManager::GetArchives in apt-pkg/packagemanager.cc).
            put((*options, *manager.installing), [*packages.values(), *others])
        # What is there in its version may be damaged, or goes before with what is replaced.
        if manager.reinstalls_alone:
            packages = {
                name: package
                for name, package in packages.items()
                if there.get(name) == self._coming[name]
            }
        if packages:
            put((*options, *manager.reinstalling), [*packages.values(), *others])

    def brought(self) -> dict[str, str]:
        """Return {name: version} of the installed packages that are of the stack."""
        return self.own(package_sets.installed(self.node.tree))

    def finished(self) -> None:
        """Keep the packages that are installed now."""
        note.keep_packages(self.node.tree, self.brought(), self._manager)


def reinstall(method: Method, packages: dict[str, str]) -> None:
    """Bring back packages that were there, from what is kept of them or offered still.

    :param method: what came to no good end, whichever way it went.
    :param packages: {name: version}.
    :raises Refusal: it cannot.
    """
    node, what = method.node, "bring back DOCA-OFED"
    manager = package_manager.named(method.facts["pkg_mgr"])
    kernel_modules.remove_orphans(node)
    rpm_transaction.settle(packages, _of_rdma, node.tree, node.execute, manager)
    kept = note.kept_packages(node.tree, packages, manager)
    named = [kept.get(name) or manager.exactly(name, packages[name]) for name in packages]
    others = manager.leaving(_others_than(packages, node))
    is_at_hand = kept.keys() == packages.keys()
    with _modules_of_what_came(method):
        _transact(node, what, manager, packages, manager.installing, [*named, *others], is_at_hand)
        left = manager.left_over(_others_than(packages, node))
        package_sets.remove(what, left, node.execute)


def _of_rdma(name: str) -> bool:
    return bool(stack_packages.RDMA.fullmatch(name))


def _others_than(staying: collections.abc.Container[str], node: Node) -> list[str]:
    """Return the names of a vendor's packages that are there, and are not to stay."""
    return [name for name in package_sets.of_vendor(node.tree) if name not in staying]


@contextlib.contextmanager
def _modules_of_what_came(method: Method) -> Iterator[None]:
    """Give each kernel modules built from the sources that packages bring meanwhile."""
    node = method.node
    before, built = _sources(node.tree), kernel_modules.builds(node.tree)
    yield
    if method.facts["pkg_mgr"] != "apt":
        kernel_modules.add_forgotten(node)
    is_same = _sources(node.tree) == before
    kernel_modules.complete_all(
        node, method.kernels, kernel_modules.NO_BUILDS if is_same else built
    )


def _sources(tree: Root) -> dict[str, str]:
    """Return {name: version} of the packages that have the sources of the stack's modules."""
    found = package_sets.installed(tree).items()
    return {name: version for name, version in found if _SOURCES.fullmatch(name)}


def _transact(
    node: Node,
    what: str,
    manager: Manager,
    offers: dict[str, str],
    verb: tuple[str, ...],
    names: list[str],
    is_at_hand: bool = False,
) -> None:
    """Have packages come in place of those of a vendor that are there.

    :param offers: {name: version} in which they come, and nothing else that they need.
    :param verb: of the manager's, with its options.
    :param names: how the manager is told of them.
    :param is_at_hand: whether all their archives lie on the host.
    """
    coming, records = node.tree.path(note.COMING), package_sets.coming(offers)
    with manager.exchanging(records, coming, is_at_hand) as own:
        verb = (*own, *manager.preferring(repositories.RDMA), *verb)
        package_manager.transact(what, verb, names, manager, node.execute, _of_rdma)
