# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exchange of a driver for that of packages: fetched, built, installed, held, and undone."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
from functools import cached_property

from ..component.bring import Node
from ..gpu import installed_driver
from ..kernel import dkms, dkms_status
from ..packages import versions
from ..refusal import Refusal
from ..system import disk, files, folders, own_paths, text_files
from . import (
    kernel_modules,
    package_archives,
    package_choice,
    package_family,
    package_sets,
    runfile_exchange,
)
from . import pins as driver_pins
from .served_kernels import ServedKernels
from .target import Demands, Target
from .wanted_packages import WantedPackages

# Trees of DKMS that are the driver's, and what ends the name of one that is built for a try.
_IS_DRIVERS = re.compile(r"nvidia\b")
_TO_COME = "-to-come"
_NAME = re.compile(r"^PACKAGE_NAME=.*$", re.MULTILINE)


class PackageExchange:
    """What steps do to have the driver by packages.

    :param target: the wanted driver.
    :param node: the bring.Node.
    :param packages: those that bring it.
    :param kernels: those that get modules.
    :param before: {name: version} of the driver's packages that were there.
    :param unfinished: the same of those that dpkg had not ended with.
    :param left: names of removed packages whose settings were there, which are not ours to forget.
    """

    def __init__(
        self,
        target: Target,
        node: Node,
        packages: WantedPackages,
        kernels: ServedKernels,
        before: dict[str, str],
        unfinished: dict[str, str],
        left: list[str],
    ) -> None:
        self._target = target
        self._node = node
        self._packages = packages
        self._kernels = kernels
        self._before = before
        self._unfinished = unfinished
        self._left = left

    @cached_property
    def _choice(self) -> tuple[package_choice.Choice, dict[str, str]]:
        """(what is to be installed, {package: path} of what of it lies on the host).

        It is made once a step asks for it: the repository is there then.
        """
        # What was cut is brought to its end by name: nobody looks for what others stand on.
        there = {**self._unfinished, **self._before}
        names, tree = self._packages.to_ask_for(there), self._node.tree
        manager = self._packages.manager
        offers, stopped = manager.offered(tree, names), manager.stopped(tree, names)
        return self._packages.choice(there, offers, stopped)

    @property
    def _family(self) -> package_family.Family:
        return self._packages.family

    def installed(self) -> dict[str, str]:
        """Return {name: version} of the driver's packages that are there now."""
        return package_sets.installed(self._node.tree, self._family)

    def version(self) -> str:
        """Return the version of the driver that is there now, the branch where none is."""
        return self._packages.version_of(self.installed()) or self._packages.branch

    def fetch(self) -> None:
        """Have on the host all that is to be installed."""
        choice, archives = self._choice
        manager, execute = self._packages.manager, self._node.execute
        package_sets.fetch(choice, self._family, execute, manager, archives)

    def build(self) -> None:
        """Build the modules of the packages that bring them, before those are installed."""
        choice, archives = self._choice
        manager, execute = self._packages.manager, self._node.execute
        os.makedirs(own_paths.CACHE_DIR, mode=0o755, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=own_paths.CACHE_DIR, prefix="package-") as folder:
            sources = package_archives.sources(choice, self._family, manager)
            for name, version in sources.items():
                package_archives.unpack(name, version, folder, manager, execute, archives)
            for conf in glob.glob(os.path.join(folder, "*/usr/src/*/dkms.conf")):
                self._build_from(os.path.dirname(conf), choice.driver)

    def _build_from(self, folder: str, version: str) -> None:
        name = os.path.basename(folder)[: -len(version) - 1]
        modules = kernel_modules.Modules(name, version, *self._target.demands)
        place = self._node.tree.path(os.path.join(dkms.SOURCES, os.path.basename(folder)))
        if os.path.isdir(place) and files.sha256_of_tree(place) != files.sha256_of_tree(folder):
            self._build_beside(folder, modules)
            return
        with dkms.undone_on_failure(self._node.tree, name, version):
            if not os.path.isdir(place):
                with disk.watched(f"add the sources of {name}", place):
                    shutil.copytree(folder, place, symlinks=True)
            rows = self._kernels.rows
            kernel_modules.build(self._node.tree, modules, rows, self._node.execute)

    def _build_beside(self, folder: str, modules: kernel_modules.Modules) -> None:
        """See that modules build whose name in DKMS others have that are in use, and leave nothing.

        Both kinds of modules are called nvidia there since 570 (awslabs/amazon-eks-ami, pull
        requests 2284 and 2370): the packages of the one take the place of the other's sources.
        """
        tree, execute = self._node.tree, self._node.execute
        beside = modules._replace(name=f"{modules.name}{_TO_COME}")
        sources = tree.path(dkms.sources_of(*beside[:2]))
        try:
            with disk.watched(f"add the sources of {modules.name}", sources):
                folders.make(sources)
                shutil.copytree(folder, sources, symlinks=True, dirs_exist_ok=True)
            conf = os.path.join(sources, "dkms.conf")
            text = _NAME.sub(f'PACKAGE_NAME="{beside.name}"', files.read_text(conf))
            files.write_text(conf, text, owner=None, group=None)
            kernel_modules.build(tree, beside, self._kernels.rows, execute)
        finally:
            dkms.remove(tree, *beside[:2], execute)
            # Where a file system marks nothing as ours.
            shutil.rmtree(sources, ignore_errors=True)

    def install(self) -> None:
        """Install the packages, and their modules for every kernel."""
        choice, archives = self._choice
        tree, execute, manager = self._node.tree, self._node.execute, self._packages.manager
        for name, version in dkms_status.orphans(tree):
            if version == choice.driver:
                dkms.remove(tree, name, version, execute)
        package_sets.install(choice, self._family, tree, execute, manager, archives)
        self.install_modules()

    def restore(self, lost: dict[str, str]) -> None:
        """Install packages again that came with the driver that is there, from what is kept.

        :param lost: {name: version}.
        :raises Refusal: it would do harm, or it failed.
        """
        manager = self._packages.manager
        there = {**self.installed(), **lost}
        choice = package_choice.Choice(self.version(), there, [])
        archives = package_archives.kept(choice.driver, lost, manager)
        tree, execute = self._node.tree, self._node.execute
        package_sets.install(choice, self._family, tree, execute, manager, archives)

    def install_modules(self) -> None:
        """Put the modules in place that the packages brought.

        :raises Refusal: they brought none.
        """
        version = self.version()
        if self._packages.prebuilt:
            came = package_choice.Choice(version, self._packages.prebuilt.packages(version), [])
            tree, execute = self._node.tree, self._node.execute
            package_sets.install(came, self._family, tree, execute)
        self._add_forgotten(version, self._target.demands)
        modules = self.modules(version)
        if modules is None:
            raise Refusal(
                f"NVIDIA driver {version}",
                "its packages brought no modules for DKMS",
                "Look at `dkms status`, and run again",
            )
        self._kernels.put_in_place(modules)

    def modules(self, version: str) -> kernel_modules.Modules | None:
        """Return the wanted modules of a version that packages brought by now, None for none."""
        if self._packages.prebuilt:
            return kernel_modules.prebuilt(version, self._target.demands)
        driver = installed_driver.survey(self._node.tree)
        return kernel_modules.of_packages(driver, version, self._target.demands)

    def _add_forgotten(self, version: str, demands: Demands) -> None:
        """Have DKMS take the modules that packages brought, where it has none of that version."""
        tree = self._node.tree
        driver = installed_driver.survey(tree)
        if kernel_modules.of_packages(driver, version, demands) is None:
            dkms.add_packaged(tree, _IS_DRIVERS.match, self._node.execute)

    def hold(self) -> None:
        """Hold what is installed now at its versions, and keep its archives."""
        there, manager = self.installed(), self._target.facts["pkg_mgr"]
        version = self._packages.version_of(there) or self._packages.branch
        text_files.put_all(driver_pins.wanted_files(manager, there, version, self._family))
        package_archives.keep(version, there, self._packages.manager, self._node.execute)

    def forget(self) -> None:
        """Purge the settings of what was there before and is no more."""
        package_sets.forget(self._before, self._node.tree, self._node.execute)

    def going_back(self) -> str:
        """Bring back the driver that was there; return a sentence about what came of it."""
        runfile = self._target.facts["driver"]["runfile"]
        version = self._packages.driver_of(self._before)
        tree, execute = self._node.tree, self._node.execute
        if runfile or not version:
            package_sets.remove(self._family, tree, execute, staying=self._before)
        if runfile:
            return runfile_exchange.reinstall(runfile, self._target, self._node)
        if not version:
            return "There was no driver before"
        before = {**self._cut_of(version), **self._before}
        came = package_sets.came(before, self._family, tree)
        package_sets.bring_back(version, before, came, self._family, tree, execute)
        package_sets.forget(set(came).difference(self._left), tree, execute)
        self._add_forgotten(version, self._target.demands_before)
        driver = installed_driver.survey(tree)
        modules = kernel_modules.of_packages(driver, version, self._target.demands_before)
        if modules:
            self._kernels.put_in_place(modules)
        return f"Driver {version} is back"

    def _cut_of(self, version: str) -> dict[str, str]:
        """Return {name: version} of a driver's packages that an earlier run was cut at."""
        kept = package_archives.kept_versions(version, self._packages.manager)
        cut = {name: kept.get(name, found) for name, found in self._unfinished.items()}
        return {
            name: found
            for name, found in cut.items()
            if name in kept or versions.upstream(found) == version
        }
