# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted driver by a .run: its programs and libraries, and its modules by DKMS beside them."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from functools import cached_property

from ..gpu import driver_archive, fabric_manager, installed_driver
from ..kernel import dkms
from ..packages import repositories, stack_packages
from ..records import manifest
from ..refusal import Refusal
from ..system import disk, download, files, own_paths, urls
from . import kernel_modules, method, package_family, package_sets, pins, runfile

WORK_DIR = os.path.join(own_paths.CACHE_DIR, "nvidia_driver")
_NAME = kernel_modules.OF_RUNFILE


class Runfile(method.Method):
    """What there is to do to have the driver by a .run; see nvidia_driver/converge.py.

    :param target: the target.Target.
    :param host: the bring.Host.
    """

    found_by = "by packages"

    def __init__(self, target, host):
        super().__init__(target, host)
        self.version = self.version_to_be = self._wanted["version"]
        self._modules = kernel_modules.Modules(_NAME, self.version, *target.demands)
        self._family = method.family_of(self._facts, self._wanted["repositories"])

    # What there is to do

    @cached_property
    def changes_method(self):
        """Whether packages have brought a driver."""
        return bool(self._packages)

    @cached_property
    def _packages(self):
        """{name: version} of packages that give way; Fabric Manager comes by a package alone."""
        return {
            name: version
            for name, version in self._there.items()
            if not fabric_manager.is_package(name)
        }

    @cached_property
    def _there(self):
        return package_sets.installed(self._host.tree, self._family)

    @cached_property
    def _is_placed(self):
        driver = self._facts["driver"]
        return (
            driver["runfile"] == self.version
            and set(driver["libraries"]) == {self.version}
            and runfile.is_whole(self._host.tree, self._identity.flavour)
        )

    @cached_property
    def _lacking(self):
        """The releases of the kernels that have not these modules in place."""
        tree, driver = self._host.tree, self._facts["driver"]
        return kernel_modules.lacking(tree, driver, self._modules, self._releases)

    @property
    def builds(self):
        """Whether modules have to be built."""
        return bool(self._lacking)

    @cached_property
    def exchanges(self):
        """Whether a driver that may be in use gives way."""
        tree, driver = self._host.tree, self._facts["driver"]
        replaced = kernel_modules.replaced(tree, driver, self._modules, self._lacking)
        return bool(self._packages or not self._is_placed or replaced)

    def needs(self):
        """Return the names of the files of the controller that the host lacks."""
        if not (self.builds or self.exchanges) or self._at_hand:
            return []
        file = self._target.wanted["file"]
        return [] if "://" in file or file in self._host.sent else [file]

    # The steps

    def preparing(self):
        """Return what is done beside the driver that is in use.

        The file comes first: where it is not the one that is wanted, nothing else is done.
        """
        if not (self.builds or self.exchanges):
            return []
        unpack = (f"unpack the .run file of NVIDIA driver {self.version}", self._unpacked)
        return [unpack, *self._installing(["dkms"] if self.builds else [])]

    def building(self):
        """Return what makes the modules of every kernel, beside those that are there."""
        if not self.builds:
            return []
        words = f"build the {self._target.module_type} modules of {self.version} for kernel "
        return [(words + ", ".join(self._lacking), self._build)]

    def exchanging(self):
        """Return what takes the place of the driver that is there."""
        if not self.exchanges:
            return []
        steps = []
        if self._packages:
            steps.append(packages_removal(sorted(self._packages), self._family, self._host))
        before = self._facts["driver"]["runfile"]
        words = f"install NVIDIA driver {self.version} from its .run file"
        if before not in ("", self.version):
            words = f"replace NVIDIA driver {before} by {self.version} from its .run file"
        elif self._is_placed and not self._packages:
            words = f"exchange the modules for the {self._target.module_type} ones"
        return [*steps, (words, self._exchange)]

    def finishing(self):
        """Return what is done once the driver is in place."""
        steps = [*self._installing_fabric_manager(), *self._settling_modules()]
        return [*steps, *method.clearing(self._pins())]

    def _installing_fabric_manager(self):
        choice = self._fabric_manager
        if not choice:
            return []
        words = ", ".join(f"{name} {version}" for name, version in choice.packages.items())
        install = functools.partial(
            package_sets.install, choice, self._family, self._host.tree, self._host.execute
        )
        return [(f"install {words}", install)]

    @cached_property
    def _fabric_manager(self):
        """The package_sets.Choice of it that has to be installed, None for none.

        :raises Refusal: NVSwitches need it, and the host is offered none of this version.
        """
        is_there = self._facts["fabric_manager"]["version"] == self.version
        if not self._facts["nvswitches"] or (is_there and not self._packages):
            return None
        branch, rows = self._wanted["branch"], self._wanted["repositories"].values()
        names = sorted(
            {name for row in rows for name in package_sets.fabric_manager_names(row, branch)}
        )
        offers = repositories.offered(self._host.tree, names)
        bare = package_sets.Choice(self.version, {}, [])
        try:
            choice = package_sets.with_fabric_manager(bare, names, offers)
        except Refusal as refusal:
            raise Refusal(
                refusal.what,
                f"a .run file brings none for the NVSwitches of this host, and {refusal.because}",
                "Offer the host a repository that has it, such as NVIDIA's own, install it by "
                "other means, or say gpunode_driver_method: package",
            ) from refusal
        # The package of another branch has another name.
        others = [name for name in self._there if fabric_manager.brings(name)]
        return choice._replace(superseded=sorted(set(others) - set(choice.packages)))

    def _pins(self):
        """Return what holds Fabric Manager: in another version it does not run with the driver."""
        choice, manager = self._fabric_manager, self._facts["pkg_mgr"]
        held = {
            name: version
            for name, version in self._there.items()
            if fabric_manager.is_package(name) and not (choice and name in choice.superseded)
        }
        held.update(choice.packages if choice else {})
        if not held:
            return pins.unwanted_files(manager)
        family = package_family.Family(sorted(held), [], [])
        return pins.wanted_files(manager, held, self.version, family)

    def _settling_modules(self):
        steps = []
        put = functools.partial(self._put_in_place, self._modules)
        left = kernel_modules.others(self._host.tree, self._modules)
        if self.builds and not self.exchanges:
            words = f"install the modules of {self.version} for kernel "
            steps.append((words + ", ".join(self._lacking), put))
        elif left and not self.exchanges:
            names = ", ".join(f"{name} {version}" for name, version in left)
            steps.append((f"remove the modules of {names}", put))
        if self.builds or self.exchanges or os.path.isdir(WORK_DIR):
            steps.append((f"keep the .run file of NVIDIA driver {self.version}", self._tidy))
        return steps

    def _build(self):
        tree = self._host.tree
        with dkms.undone_on_failure(tree, _NAME, self.version):
            _add(tree, self._modules, *self._unpacked())
            kernel_modules.build(tree, self._modules, self._kernels(), self._host.execute)

    def _exchange(self):
        folder, names = self._unpacked()
        # First the modules, which are built: a host that goes down now comes up with a driver.
        kernel_modules.install(self._host.tree, self._modules, self._kernels(), self._host.execute)
        if self._packages or not self._is_placed:
            runfile.install(folder, self.version, self._host.execute, self._host.tree)
            self._remove_strays()
            # Whoever removes the driver before takes its tree of DKMS along, be it of this version.
            _add(self._host.tree, self._modules, folder, names)
        self._put_in_place(self._modules)

    def _tidy(self):
        """Keep the file and nothing unpacked, also where a killed run had not come to that."""
        with contextlib.suppress(FileNotFoundError):
            runfile.keep(self._path, self._identity, self._target.wanted["sha256"])
        shutil.rmtree(WORK_DIR, ignore_errors=True)

    def _remove_strays(self):
        """Remove libraries of other versions that neither a .run nor a package has placed.

        ldconfig leads programs to the greatest version that there is.
        """
        tree = self._host.tree
        for version in installed_driver.libraries(tree):
            for path in installed_driver.libraries_of(tree, version):
                if version != self.version and not stack_packages.owns(tree, path):
                    os.unlink(tree.path(path))

    # The file

    @property
    def _identity(self):
        flavour = "grid" if self._target.wanted["guest"] else "tesla"
        return runfile.Identity(self.version, flavour)

    @property
    def _path(self):
        return os.path.join(WORK_DIR, f"{self._target.wanted['sha256']}.run")

    @cached_property
    def _at_hand(self):
        """The path of the file on this host, '' where it has it not, or not as it was."""
        sha256 = self._target.wanted["sha256"]
        kept = [row["path"] for row in runfile.kept() if row["sha256"] == sha256]
        there = filter(os.path.isfile, (*kept, self._path))
        return next((path for path in there if files.sha256_of_file(path) == sha256), "")

    def _fetch(self):
        """Put the file where it is unpacked from, its digest proven, and look into it."""
        wanted = self._target.wanted
        sent = self._host.sent.get(wanted["file"])
        source = f"file://{sent}" if sent else wanted["file"]
        kept = self._at_hand
        download.fetch(f"file://{kept}" if kept else source, self._path, wanted["sha256"])
        try:
            runfile.inspect(
                self._path, self._facts["architecture"], self._host.execute, *self._identity
            )
        except Refusal as refusal:
            os.unlink(self._path)
            named = f"gpunode_driver_file: {urls.shown(wanted['file'])}"
            raise Refusal(named, refusal.because, refusal.remedy) from refusal

    def _unpacked(self):
        """Return (folder, names of its modules) of the unpacked file."""
        # What an earlier run left of another file, be it of this version, is none of it.
        folder = os.path.join(WORK_DIR, self._target.wanted["sha256"])
        with disk.watched(f"unpack NVIDIA driver {self.version}", WORK_DIR):
            if os.path.isdir(folder):
                found = runfile.manifest(folder)
            else:
                self._fetch()
                found = runfile.extract(self._path, folder, self._host.execute)
        return folder, found.modules

    # What is left behind

    def going_back(self):
        """Bring back the driver that was there; return a sentence about what came of it."""
        before = self._facts["driver"]["runfile"]
        if self._packages:
            return self._bring_back_packages()
        if before in ("", self.version):
            return "There was no other driver before"
        return reinstall(before, self._target, self._host)

    def _bring_back_packages(self):
        tree, driver = self._host.tree, self._facts["driver"]
        before = (driver["libraries"] or [""])[-1]
        runfile.uninstall(self._host.execute, tree, self._unpacked()[0])
        package_sets.bring_back(before, self._packages, [], self._family, tree, self._host.execute)
        names = {row["name"] for row in driver["dkms"] if row["version"] == before}
        for name in names:
            is_open = any(row["open"] for row in self._target.modules.values())
            demands = (is_open, *self._target.demands[1:])
            self._put_in_place(kernel_modules.Modules(name, before, *demands))
        return f"Driver {before} is back"

    def prove(self, facts):
        """Hold the host to having this driver, for every kernel.

        :param facts: as they are now.
        :raises Refusal: it has not.
        """
        kernel_modules.prove(self._host.tree, self._modules, self._releases)
        driver = facts["driver"]
        if driver["runfile"] != self.version or set(driver["libraries"]) != {self.version}:
            raise Refusal(
                f"NVIDIA driver {self.version}",
                f"libraries of {' and '.join(driver['libraries']) or 'no version'} are there",
                "Look who else installs them, and run again",
            )

    def manifest(self):
        """Return the entries of what a .run placed, of what later kernels are served from, and of
        what holds Fabric Manager.
        """
        paths = [*runfile.placed(self._host.tree), *kernel_modules.records(self._modules)]
        return [
            *(manifest.presence(path) for path in paths if os.path.lexists(path)),
            *(manifest.file(path) for path in pins.PATHS if os.path.isfile(path)),
        ]


def reinstall(version, target, host):
    """Bring back a driver whose .run is kept; return a sentence about what came of it.

    :param version: the driver that was there.
    :param target: the target.Target, with the facts of before.
    :param host: the bring.Host.
    """
    kept = [row for row in runfile.kept() if row["version"] == version]
    if not kept:
        return f"Driver {version} was there before, and its .run is not kept on the host"
    folder = os.path.join(WORK_DIR, "before")
    names = runfile.extract(kept[0]["path"], folder, host.execute).modules
    runfile.install(folder, version, host.execute, host.tree)
    is_open = any(row["open"] for row in target.modules.values())
    modules = kernel_modules.Modules(_NAME, version, is_open, *target.demands[1:])
    _add(host.tree, modules, folder, names)
    kernel_modules.install(host.tree, modules, target.kernels, host.execute)
    for left in kernel_modules.others(host.tree, modules):
        dkms.remove(host.tree, *left, host.execute)
    shutil.rmtree(WORK_DIR, ignore_errors=True)
    return f"Driver {version} is back"


def _add(tree, modules, folder, names):
    """Put the sources of an unpacked .run where DKMS takes them from."""
    kind = "kernel-open" if modules.is_open else "kernel"
    kernel_modules.add(tree, modules, os.path.join(folder, kind), names)


def packages_removal(names, family, host):
    """Return the step that removes the packages of a driver."""
    remove = functools.partial(package_sets.remove, family, host.tree, host.execute)
    return f"remove {', '.join(names)}", remove


def removal_steps(facts, host):
    """Return the steps that remove what a .run brought, and what of it is kept.

    :param facts: what there is.
    :param host: the bring.Host.
    """
    steps = []
    version = facts["driver"]["runfile"]
    if version:
        steps.append(
            (
                f"remove NVIDIA driver {version}, which a .run file installed",
                functools.partial(_remove, host),
            )
        )
    elif _trees(host.tree):
        steps.append(("remove the modules that are left in DKMS", functools.partial(_remove, host)))
    for folder in (driver_archive.DIR, WORK_DIR):
        if os.path.isdir(folder):
            remove = functools.partial(shutil.rmtree, folder)
            steps.append((f"remove {folder}", remove))
    return steps


def _remove(host):
    runfile.uninstall(host.execute, host.tree)
    for tree in _trees(host.tree):
        dkms.remove(host.tree, *tree, host.execute)


def _trees(tree):
    """Return [(name, version)] of the trees of DKMS that are called as those of a .run."""
    return [row for row in kernel_modules.others(tree, (None, None)) if row[0] == _NAME]
