# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted driver by packages: of its branch, all in one version, and held there."""

from __future__ import annotations

import collections
import contextlib
import functools
import glob
import os
import re
import shutil
import tempfile
from functools import cached_property

from ..kernel import dkms
from ..packages import pins, stack_packages, versions
from ..packages import repositories as apt_sources
from ..records import manifest
from ..refusal import Refusal
from ..system import disk, own_paths, text_files
from . import by_runfile, kernel_modules, method, package_family, package_sets
from . import pins as driver_pins
from . import runfile as driver_runfile


class Packages(method.Method):
    """What there is to do to have the driver by packages; see nvidia_driver/converge.py.

    :param target: the target.Target.
    :param host: the bring.Host.
    """

    found_by = "by a .run file"

    def __init__(self, target, host):
        super().__init__(target, host)
        row = target.package_row
        self._repository = self._wanted["repositories"][row["repository"]]
        self._family = package_family.of(self._wanted["repositories"], row["repository"])
        self._names = list(row["packages"][target.module_type])
        if self._wanted["persistence"] and "persistenced" in self._repository:
            self._names.append(self._repository["persistenced"])
        # Packages that bring the other kind of modules.
        self._others = [
            name for names in row["packages"].values() for name in names if name not in self._names
        ]
        self._before = package_sets.installed(host.tree, self._family)
        # Settings that were left here before are not ours to forget.
        self._left = stack_packages.residual(host.tree, lambda _name: True)

    # What there is to do

    @property
    def version(self):
        """The driver's version that is installed now, or the branch where none is."""
        found = self._version_of(package_sets.installed(self._host.tree, self._family))
        return found or self._wanted["branch"]

    @property
    def version_to_be(self):
        """The version that will be installed, '' as long as the repository has to tell."""
        return "" if self.exchanges else self.version

    def _version_of(self, there):
        """Return the one version of the driver among installed packages, '' without one."""
        named = set(self._names).intersection(there)
        asked = filter(functools.partial(package_family.is_versioned, family=self._family), named)
        if self._is_of_stream:
            asked = filter(functools.partial(package_family.is_bound, family=self._family), there)
        found = {versions.upstream(there[name]) for name in asked}
        return found.pop() if len(found) == 1 else ""

    @property
    def _is_of_stream(self):
        return any(map(package_sets.is_stream, self._names))

    @cached_property
    def changes_method(self):
        """Whether a .run has brought a driver."""
        return bool(self._facts["driver"]["runfile"])

    @cached_property
    def _is_placed(self):
        """Whether all packages are there, in one version of the branch."""
        version = self._version_of(self._before)
        has_all = all(
            name in self._before for name in self._names if not package_sets.is_stream(name)
        )
        has_none_of_others = not set(self._others) & set(self._before) and not self._strays
        is_branch = versions.branch(version) == self._wanted["branch"]
        return has_all and has_none_of_others and is_branch and self._has_fabric_manager(version)

    def _has_fabric_manager(self, version):
        """Whether Fabric Manager is there, of the driver's version, or needs not to be."""
        if not self._facts["nvswitches"]:
            return True
        there = [self._before.get(name) for name in self._fabric_manager_names]
        return any(found and versions.upstream(found) == version for found in there)

    @cached_property
    def _fabric_manager_names(self):
        return package_sets.fabric_manager_names(self._repository, self._wanted["branch"])

    @cached_property
    def _strays(self):
        """The installed packages of another branch."""
        return package_sets.strays(self._before, self._wanted["branch"], self._family)

    @cached_property
    def _driver_before(self):
        """The version of the driver that packages brought, '' for none; others may be beside it."""
        found = collections.Counter(
            versions.upstream(version)
            for name, version in self._before.items()
            if package_family.is_bound(name, self._family)
        )
        del found[""]
        return found.most_common(1)[0][0] if found else ""

    @cached_property
    def _giving_way(self):
        """What goes with the exchange, in words, as far as the lists on the host tell."""
        if self._is_of_stream:
            return ""
        if self._strays and self._sources.stale():
            return f"driver {self._driver_before}"
        branch = self._wanted["branch"]
        offers = apt_sources.offered(self._host.tree, self._strays)
        offered = {
            name
            for name, found in offers.items()
            if branch in {versions.branch(versions.upstream(offer)) for offer in found}
        }
        others = set(self._others) & set(self._before)
        return ", ".join(sorted(others.union(self._strays).difference(offered, self._names)))

    @cached_property
    def exchanges(self):
        """Whether a driver that may be in use gives way."""
        return bool(self.changes_method or not self._is_placed)

    @property
    def builds(self):
        """Whether modules have to be built."""
        return bool(self.exchanges or self._lacking)

    @cached_property
    def _lacking(self):
        """The releases of the kernels that lack the modules of what is installed."""
        modules = self._modules(self._facts["driver"])
        releases = self._releases
        return (
            kernel_modules.lacking(self._host.tree, self._facts["driver"], modules, releases)
            if modules
            else releases
        )

    def _modules(self, driver):
        """Return the kernel_modules.Modules that the packages brought, None where they did not."""
        return _modules_of(driver, self.version, self._target.demands)

    def needs(self):
        """Return the names of files of the controller that the host lacks: packages need none."""
        return []

    # The steps

    def preparing(self):
        """Return what is done beside the driver that is in use."""
        steps = self._sources.offering(self._host.execute)
        if self._facts["pkg_mgr"] == "apt":
            # What builds the modules has to be there before the packages that would bring it along.
            return steps + self._installing(["dkms"] if self.exchanges else [])
        # dnf holds to its list of versions by a plugin alone.
        return steps + self._installing([pins.DNF_PLUGIN])

    @cached_property
    def _sources(self):
        return apt_sources.Sources(
            apt_sources.DRIVER,
            self._repository,
            self._facts,
            self._host.tree,
            self._wanted["repository_url"],
        )

    def building(self):
        """Return what makes the modules of every kernel, beside those that are there."""
        if not self.exchanges:
            return []
        kind = self._target.module_type
        words = f"build the {kind} modules of branch {self._wanted['branch']} for kernel "
        fetch = (f"fetch {', '.join(self._names)}", self._fetch)
        if self._facts["pkg_mgr"] != "apt":
            # The packages of a module stream build, or bring, them when they are installed.
            return [fetch]
        return [fetch, (words + ", ".join(self._releases), self._build)]

    def exchanging(self):
        """Return what takes the place of the driver that is there."""
        if not self.exchanges:
            return []
        steps = []
        runfile = self._facts["driver"]["runfile"]
        if runfile:
            steps.append(
                (
                    f"remove NVIDIA driver {runfile}, which a .run file installed",
                    functools.partial(
                        driver_runfile.uninstall, self._host.execute, self._host.tree
                    ),
                )
            )
        words = f"install {', '.join(self._names)} of branch {self._wanted['branch']}"
        if self._giving_way:
            words += f" in place of {self._giving_way}"
        return [*steps, (words, self._exchange)]

    def finishing(self):
        """Return what is done once the driver is in place."""
        steps = []
        if not self.exchanges and self._lacking:
            words = f"build the modules of {self.version} for kernel "
            steps.append((words + ", ".join(self._lacking), self._install_modules))
        if self.exchanges or text_files.stale(self._pins()):
            steps.append((f"hold the packages by {', '.join(self._pins())}", self._pin))
        if self.exchanges and self._giving_way:
            forget = functools.partial(
                package_sets.forget, self._before, self._host.tree, self._host.execute
            )
            steps.append((f"purge the settings of {self._giving_way}", forget))
        return steps

    @cached_property
    def _choice(self):
        """What is to be installed, once the repository is there."""
        return self._chosen[0]

    @cached_property
    def _chosen(self):
        """(the Choice, {package: path} of what of it lies on the host)."""
        branch = self._wanted["branch"]
        fabric = self._fabric_manager_names if self._facts["nvswitches"] else []
        heirs = [package_sets.heir(*row, branch) for row in self._before.items()]
        asked = sorted({*self._names, *fabric, *self._before, *heirs})
        offers = apt_sources.offered(self._host.tree, asked)
        choice, archives = self._chosen_of(offers)
        choice = package_sets.along(choice, self._before, offers, self._family, self._others)
        if fabric:
            choice = package_sets.with_fabric_manager(choice, fabric, offers)
        return choice, archives

    def _chosen_of(self, offers):
        """Return the same of the packages that bring the driver, without what else there is."""
        names, branch = self._names, self._wanted["branch"]
        there = self._version_of(self._before)
        # What is there stays, where it is of the branch and can be had whole.
        stays = [there] if versions.branch(there) == branch else []
        for version in stays:
            with contextlib.suppress(Refusal):
                return package_sets.choose(names, offers, branch, self._family, version), {}
        try:
            return package_sets.choose(names, offers, branch, self._family), {}
        except Refusal:
            # An archive may have a branch no longer that the host had before.
            kept = package_sets.kept_choice(names, branch)
            if kept is None:
                raise
            return kept

    def _fetch(self):
        choice, archives = self._chosen
        package_sets.fetch(choice, self._family, self._host.execute, archives=archives)

    def _build(self):
        """Build the modules of the packages that bring them, before those are installed."""
        choice, archives = self._chosen
        os.makedirs(own_paths.CACHE_DIR, mode=0o755, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=own_paths.CACHE_DIR, prefix="package-") as folder:
            for name, version in package_sets.sources(choice, self._family).items():
                package_sets.unpack(name, version, folder, self._host.execute, archives)
            for conf in glob.glob(os.path.join(folder, "*/usr/src/*/dkms.conf")):
                self._build_from(os.path.dirname(conf))

    def _build_from(self, folder):
        name = os.path.basename(folder)[: -len(self._choice.driver) - 1]
        modules = kernel_modules.Modules(name, self._choice.driver, *self._target.demands)
        place = os.path.join(dkms.SOURCES, os.path.basename(folder))
        with dkms.undone_on_failure(self._host.tree, name, modules.version):
            if not os.path.isdir(place):
                with disk.watched(f"add the sources of {name}", place):
                    shutil.copytree(folder, place, symlinks=True)
            kernel_modules.build(self._host.tree, modules, self._kernels(), self._host.execute)

    def _exchange(self):
        choice, archives = self._chosen
        tree, execute = self._host.tree, self._host.execute
        package_sets.install(choice, self._family, tree, execute, archives=archives)
        self._install_modules()

    def _install_modules(self):
        driver = self._host.survey()["driver"]
        modules = self._modules(driver)
        if modules is None:
            raise Refusal(
                f"NVIDIA driver {self.version}",
                "its packages brought no modules for DKMS",
                "Look at `dkms status`, and run again",
            )
        self._put_in_place(modules)

    def _pins(self):
        there = package_sets.installed(self._host.tree, self._family)
        return driver_pins.wanted_files(self._facts["pkg_mgr"], there, self.version, self._family)

    def _pin(self):
        text_files.put_all(self._pins())
        if self._facts["pkg_mgr"] == "apt":
            there = package_sets.installed(self._host.tree, self._family)
            package_sets.keep(self.version, there, self._host.execute)

    # What is left behind

    def going_back(self):
        """Bring back the driver that was there; return a sentence about what came of it."""
        runfile = self._facts["driver"]["runfile"]
        there = self._driver_before
        if runfile or not there:
            self._take_back()
        if runfile:
            return by_runfile.reinstall(runfile, self._target, self._host)
        if not there:
            return "There was no driver before"
        tree, execute = self._host.tree, self._host.execute
        came = package_sets.came(self._before, self._family, tree)
        package_sets.bring_back(there, self._before, came, self._family, tree, execute)
        package_sets.forget(set(came).difference(self._left), tree, execute)
        # Of the kind that they were, which need not be the wanted one.
        is_open = any(row["open"] for row in self._target.modules.values())
        demands = (is_open, *self._target.demands[1:])
        modules = _modules_of(self._host.survey()["driver"], there, demands)
        if modules:
            self._put_in_place(modules)
        return f"Driver {there} is back"

    def _take_back(self):
        """Remove the packages that came, however far they did."""
        package_sets.remove(self._family, self._host.tree, self._host.execute, spared=self._before)

    def prove(self, facts):
        """Hold the host to having this driver, for every kernel.

        :param facts: as they are now.
        :raises Refusal: it has not.
        """
        modules = self._modules(facts["driver"])
        if modules is None:
            raise Refusal(
                f"NVIDIA driver {self.version}",
                "DKMS knows no modules of it",
                "Look at `dkms status`, and run again",
            )
        kernel_modules.prove(self._host.tree, modules, self._releases)
        if set(facts["driver"]["libraries"]) != {self.version}:
            raise Refusal(
                f"NVIDIA driver {self.version}",
                f"libraries of {' and '.join(facts['driver']['libraries']) or 'no version'} are "
                "there",
                "Look who else installs them, and run again",
            )

    def manifest(self):
        """Return the entries of the packages and of what tells and holds them."""
        paths = [*apt_sources.paths(apt_sources.DRIVER), *driver_pins.PATHS]
        there = package_sets.installed(self._host.tree, self._family)
        return [
            manifest.packages(there),
            *(manifest.file(path) for path in paths if os.path.isfile(path)),
        ]


def _modules_of(driver, version, demands):
    """Return the kernel_modules.Modules that packages of a version brought, None for none.

    Debian's open modules have a tree of their own, and both may be there during an exchange.

    :param driver: what installed_driver.survey returned.
    :param demands: see target.Target.demands.
    """
    trees = sorted(
        {
            row["name"]
            for row in driver["dkms"]
            if row["version"] == version and re.match(r"nvidia\b", row["name"])
        },
        key=lambda name: (name.endswith("-open") != demands[0], name),
    )
    return kernel_modules.Modules(trees[0], version, *demands) if trees else None


def check_removal(facts, host, repositories):
    """Raise a Refusal where packages of others would go with the driver's.

    The parameters are those of :func:`removal_steps`.
    """
    family = method.family_of(facts, repositories)
    package_sets.check_removal(family, host.tree, host.execute)


def removal_steps(facts, host, repositories):
    """Return the steps that remove what packages brought, and what holds them.

    :param facts: what there is.
    :param host: the bring.Host.
    :param repositories: {name: row} of the catalog.
    """
    family = method.family_of(facts, repositories)
    names = sorted(package_sets.installed(host.tree, family))
    steps = [by_runfile.packages_removal(names, family, host)] if names else []
    return steps + method.clearing(driver_pins.unwanted_files(facts["pkg_mgr"]))
