# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exchange of a driver for that of a .run: unpacked, built, installed, kept, and undone."""

from __future__ import annotations

import contextlib
import os
import shutil

from .. import urls
from ..component.bring import Node
from ..gpu import installed_driver
from ..kernel import dkms
from ..packages import stack_packages
from ..refusal import Refusal
from ..system import disk, download, files, own_paths
from . import kernel_modules, package_family, package_sets, runfile
from .served_kernels import ServedKernels
from .target import Target

WORK_DIR = os.path.join(own_paths.CACHE_DIR, "nvidia_driver")


def identity_of(target: Target) -> runfile.Identity:
    """Return which .run is wanted."""
    return runfile.Identity(target.wanted["version"], "grid" if target.wanted["guest"] else "tesla")


def at_hand(target: Target) -> str:
    """Return the path of the wanted file on the host, '' where it has it not, or not as it was."""
    sha256 = target.wanted["sha256"]
    kept = [row["path"] for row in runfile.kept() if row["sha256"] == sha256]
    there = filter(os.path.isfile, (*kept, _place_of(sha256)))
    return next((path for path in there if files.sha256_of_file(path) == sha256), "")


class RunfileExchange:
    """What steps do to have the driver by a .run.

    :param target: the wanted driver.
    :param node: the bring.Node.
    :param kernels: those that get modules.
    :param file: what :func:`at_hand` found.
    """

    def __init__(self, target: Target, node: Node, kernels: ServedKernels, file: str) -> None:
        self._wanted = target.wanted
        self._target = target
        self._node = node
        self._kernels = kernels
        self._file = file
        version = target.wanted["version"]
        self.modules = kernel_modules.Modules(kernel_modules.OF_RUNFILE, version, *target.demands)

    def unpack(self) -> tuple[str, list[str]]:
        """Have the file unpacked; return (folder, names of its modules)."""
        # What an earlier run left of another file, be it of this version, is none of it.
        folder = os.path.join(WORK_DIR, self._wanted["sha256"])
        with disk.watched(f"unpack NVIDIA driver {self.modules.version}", WORK_DIR):
            if os.path.isdir(folder):
                found = runfile.manifest(folder)
            else:
                self._fetch()
                path = _place_of(self._wanted["sha256"])
                found = runfile.extract(path, folder, self._node.execute)
        return folder, found.modules

    def _fetch(self) -> None:
        """Put the file where it is unpacked from, its digest proven, and look into it."""
        wanted, path = self._wanted, _place_of(self._wanted["sha256"])
        there = self._file or self._node.sent.get(wanted["file"])
        download.fetch(f"file://{there}" if there else wanted["file"], path, wanted["sha256"])
        architecture = self._target.facts["architecture"]
        try:
            runfile.inspect(path, architecture, self._node.execute, *identity_of(self._target))
        except Refusal as refusal:
            os.unlink(path)
            named = f"gpunode_driver_file: {urls.shown(wanted['file'])}"
            raise Refusal(named, refusal.because, refusal.remedy) from refusal

    def build(self) -> None:
        """Build the modules for every kernel, and install none."""
        tree, (name, version) = self._node.tree, self.modules[:2]
        with dkms.undone_on_failure(tree, name, version):
            _add(self._node, self.modules, *self.unpack())
            kernel_modules.build(tree, self.modules, self._kernels.rows, self._node.execute)

    def install_modules(self) -> None:
        """Put the modules in place, and remove those of other drivers."""
        self._kernels.put_in_place(self.modules)

    def exchange_modules(self) -> None:
        """Do the same where programs and libraries stay, from modules that are built."""
        self._install_built()
        self.install_modules()

    def install(self) -> None:
        """Install programs, libraries and modules, in place of what there is."""
        folder, names = self.unpack()
        self._install_built()
        runfile.install(folder, self.modules.version, self._node.execute, self._node.tree)
        self._remove_unowned_libraries()
        # Whoever removes the driver before takes its tree of DKMS along, be it of this version.
        _add(self._node, self.modules, folder, names)
        self.install_modules()

    def _install_built(self) -> None:
        """Install the modules first: a host that goes down now comes up with a driver."""
        rows = self._kernels.rows
        kernel_modules.install(self._node.tree, self.modules, rows, self._node.execute)

    def _remove_unowned_libraries(self) -> None:
        """Remove libraries of other versions that neither a .run nor a package has placed.

        ldconfig leads programs to the greatest version that there is.
        """
        tree = self._node.tree
        for version in installed_driver.libraries(tree):
            for path in installed_driver.libraries_of(tree, version):
                if version != self.modules.version and not stack_packages.owns(tree, path):
                    os.unlink(tree.path(path))

    def tidy(self) -> None:
        """Keep the file and nothing unpacked, also where a killed run had not come to that."""
        sha256 = self._wanted["sha256"]
        with contextlib.suppress(FileNotFoundError):
            runfile.keep(_place_of(sha256), identity_of(self._target), sha256)
        shutil.rmtree(WORK_DIR, ignore_errors=True)

    def bring_back_packages(self, packages: dict[str, str], family: package_family.Family) -> str:
        """Bring back the driver of packages; return a sentence about what came of it.

        :param packages: {name: version} of those that were there.
        """
        tree, driver = self._node.tree, self._target.facts["driver"]
        before = (driver["libraries"] or [""])[-1]
        runfile.uninstall(self._node.execute, tree, self.unpack()[0])
        package_sets.bring_back(before, packages, [], family, tree, self._node.execute)
        for name in {row["name"] for row in driver["dkms"] if row["version"] == before}:
            modules = kernel_modules.Modules(name, before, *self._target.demands_before)
            self._kernels.put_in_place(modules)
        return f"Driver {before} is back"


def reinstall(version: str, target: Target, node: Node) -> str:
    """Bring back a driver whose .run is kept; return a sentence about what came of it.

    :param version: the driver that was there.
    :param target: the wanted driver, with the facts of before.
    """
    kept = [row for row in runfile.kept() if row["version"] == version]
    if not kept:
        return f"Driver {version} was there before, and its .run is not kept on the host"
    folder = os.path.join(WORK_DIR, "before")
    names = runfile.extract(kept[0]["path"], folder, node.execute).modules
    runfile.install(folder, version, node.execute, node.tree)
    name = kernel_modules.OF_RUNFILE
    modules = kernel_modules.Modules(name, version, *target.demands_before)
    _add(node, modules, folder, names)
    kernel_modules.install(node.tree, modules, target.kernels, node.execute)
    for left_name, left_version in kernel_modules.others(node.tree, modules):
        dkms.remove(node.tree, left_name, left_version, node.execute)
    shutil.rmtree(WORK_DIR, ignore_errors=True)
    return f"Driver {version} is back"


def _place_of(sha256: str) -> str:
    """Return where a file is unpacked from."""
    return os.path.join(WORK_DIR, f"{sha256}.run")


def _add(node: Node, modules: kernel_modules.Modules, folder: str, names: list[str]) -> None:
    """Put the sources of an unpacked .run where DKMS takes them from."""
    kind = "kernel-open" if modules.is_open else "kernel"
    kernel_modules.add(node.tree, modules, os.path.join(folder, kind), names)
