# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLNX_OFED from its bundle, by the vendor's installer."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cached_property

from ..facts_shape import Kernel
from ..kernel import headers
from ..packages import package_manager, stack_packages
from ..rdma import ofed_release, rdma_stack
from ..refusal import Refusal
from ..steps import Step
from ..system import commands, distribution
from ..system.text_files import TextFile
from . import archive, installer, kernel_modules, note, package_sets, removal
from . import bundle as ofed_bundle
from .method import Method
from .observe import Packages
from .wanted import Present

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


class ByBundle(Method):
    """What there is to do to have MLNX_OFED."""

    @cached_property
    def exchanges(self) -> bool:
        """Whether packages give way: the installer puts all of them in place anew."""
        is_it = (self.found["kind"], self.found["version"]) == ("mlnx_ofed", self._version)
        # Where the modules are none of DKMS's, those of another kernel come by the installer.
        return not is_it or not self.is_whole or bool(self.lacking_core and not self.is_in_dkms)

    @property
    def _version(self) -> str:
        return str(self.wanted["version"])

    def refuse(self, consent: list[str]) -> None:
        """Refuse what would not come to its end, and a bundle that cannot be checked.

        :raises Refusal: it would not.
        """
        super().refuse(consent)
        if self.exchanges:
            archive.source(self.wanted, self.facts)
            _main_kernel(self)

    def preparing(self) -> list[Step]:
        """Return what is done beside the stack that is in use."""
        node, is_apt = self.node, self.facts["pkg_mgr"] == "apt"
        # DKMS is for an installation alone.
        missing = [] if is_apt and not self.exchanges else self.seen.missing
        bringing = package_manager.installing_missing(missing, node.execute, node.run)
        if not self.exchanges:
            return bringing
        unpack = Step(f"unpack the bundle of MLNX_OFED {self._version}", self._unpack)
        return [unpack, *([] if _adds_kernel_on_debian(self) else bringing)]

    def exchanging(self) -> list[Step]:
        """Return what takes the place of the stack that is there."""
        if not self.exchanges:
            return []
        words = self.in_place(f"install MLNX_OFED {self._version}")
        if self.wanted["firmware_update"]:
            words += ", and update the firmware of the adapters"
        return [Step(words, self._exchange)]

    def pins(self, packages: Packages) -> dict[str, TextFile]:
        """Return {path: TextFile} of what keeps packages of the distribution out."""
        return package_sets.held(self.facts["pkg_mgr"], packages.brought, packages.locked)

    # The actions

    @cached_property
    def _archive(self) -> archive.Archive:
        return archive.Archive(archive.source(self.wanted, self.facts), self._version, self.node)

    @property
    def _folder(self) -> str:
        return _folder_of(self.wanted, self._version)

    def needs(self) -> list[str]:
        """Return the names of the files of the controller that the host lacks."""
        return self._archive.needs() if self.exchanges else []

    def _unpack(self) -> None:
        path, tmpdir = self._archive.fetched(), self.wanted["tmpdir"]
        os.makedirs(tmpdir, mode=0o755, exist_ok=True)
        ofed_bundle.refuse_without_room(path, tmpdir, _adds_kernel_on_debian(self))
        bundle = ofed_bundle.unpack(path, self._folder, self.node.execute)
        name = distribution.mellanox_name(self.facts)
        ofed_bundle.refuse_misfits(bundle, self._version, name, self.facts["architecture"])
        installer.refuse_names(self.wanted["options"], bundle.packages)
        package_sets.refuse_dependants(
            f"install MLNX_OFED {self._version}",
            sorted(self.seen.packages.installed),
            self.node.execute,
        )

    def _exchange(self) -> None:
        if self.found["kind"] == "doca":
            removal.forget_repository()
            what = f"remove {rdma_stack.described(self.found)}"
            removal.uninstall(what, self.node, self.facts["pkg_mgr"])
        done = _install(self, self._folder)
        lacks = installer.firmware_failure(done)
        # The modules came for one kernel, where DKMS was not asked to build them for all.
        kernel_modules.complete_all(self.node, self.kernels)
        if lacks and self.wanted["firmware_update"]:
            self.warnings.append(f"The firmware was not updated: {lacks}")

    def brought(self) -> dict[str, str]:
        """Return {name: version} of the installed packages that are of the stack."""
        names = set(ofed_bundle.read(self._folder).packages)
        others = stack_packages.installed(self.node.tree, names.__contains__)
        return {**package_sets.installed(self.node.tree), **others}

    def finished(self) -> None:
        """Keep the bundle that is installed now."""
        note.keep(self.node.tree, self._archive.fetched(), self._version)
        archive.discard()


def reinstall(method: Method, version: str) -> None:
    """Bring back a version whose bundle is kept.

    :param method: what came to no good end, whichever way it went.
    :raises Refusal: it cannot.
    """
    node, folder = method.node, _folder_of(method.wanted, version)
    try:
        ofed_bundle.unpack(note.kept(node.tree, version), folder, node.execute)
        _install(method, folder)
        kernel_modules.complete_all(node, method.kernels)
    finally:
        # The error that may be on its way says more.
        shutil.rmtree(folder, ignore_errors=True)


def _folder_of(wanted: Present, version: str) -> str:
    return os.path.join(wanted["tmpdir"], f"{ofed_bundle.UNPACKED}{version}")


def _install(method: Method, folder: str) -> subprocess.CompletedProcess[str]:
    """Run the installer of an unpacked bundle; return how it ended.

    :raises Refusal: it failed, or another version is there than it should have brought.
    """
    tree, wanted, bundle = method.node.tree, method.wanted, ofed_bundle.read(folder)
    what = f"install MLNX_OFED {bundle.version}"
    is_exact = bundle.distribution == distribution.mellanox_name(method.facts)
    order = installer.Order(
        _main_kernel(method)["release"],
        wanted["tmpdir"],
        _adds_kernel(method, bundle),
        wanted["firmware_update"] and bundle.version == wanted["version"],
        "" if is_exact else bundle.distribution,
        wanted["options"],
    )
    kernel_modules.remove_orphans(method.node)
    argv = [os.path.join(folder, "mlnxofedinstall"), *installer.arguments(order)]
    done = commands.run_long(what, argv, _ENVIRONMENT, method.node.execute, "/usr and /var")
    if done.returncode:
        raise installer.failure(what, done, tree)
    found = rdma_stack.stack(tree, [])
    if found["version"] != bundle.version:
        raise Refusal(
            what,
            f"ofed_info says {found['version'] or 'nothing'} after it",
            "Look at the log of the installer, and run again",
        )
    return done


def _main_kernel(method: Method) -> Kernel:
    """Return the row of the kernel that the installer is told.

    :raises Refusal: no kernel can have modules.
    """
    found = ofed_release.first(method.kernels)
    if not found:
        packages = [
            headers.package(row["release"], method.facts["pkg_mgr"])
            for row in method.facts["kernels"]
        ]
        raise Refusal(
            "RDMA modules",
            "no kernel of this host has headers to build them with",
            f"Install {' or '.join(packages)}" if packages else "Install a kernel and its headers",
        )
    return found[0]


def _adds_kernel(method: Method, bundle: ofed_bundle.Bundle) -> bool:
    """Say whether modules of the main kernel come by no other way than a new bundle."""
    if method.facts["pkg_mgr"] == "apt":
        return _adds_kernel_on_debian(method)
    return _main_kernel(method)["release"] not in bundle.kernels


def _adds_kernel_on_debian(method: Method) -> bool:
    """Say whether the installer would not leave it to DKMS: the kernel's build is no package's."""
    return bool(method.facts["pkg_mgr"] == "apt" and method.seen.is_own_build)
