# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLNX_OFED from its bundle, by the vendor's installer."""

from __future__ import annotations

import os
import shutil
from functools import cached_property

from ..packages import package_manager, stack_packages
from ..rdma import ofed_release, rdma_stack
from ..refusal import Refusal
from ..system import commands, distribution, download, files, own_paths
from . import bundle as ofed_bundle
from . import installer, method, note, package_sets

_WORK_DIR = os.path.join(own_paths.CACHE_DIR, "mlnx_ofed")
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


class Bundle(method.Method):
    """What there is to do to have MLNX_OFED; see mlnx_ofed/converge.py."""

    def __init__(self, wanted, host):
        super().__init__(wanted, host)
        self._version = wanted["version"]

    @cached_property
    def exchanges(self):
        """Whether packages give way: the installer puts all of them in place anew."""
        is_it = (self._found["kind"], self._found["version"]) == ("mlnx_ofed", self._version)
        # Where the modules are none of DKMS's, those of another kernel come by the installer.
        return not is_it or not self.is_whole or bool(self.lacking and not self._trees_before)

    @cached_property
    def _source(self):
        """(address or path on the controller, sha256) of the bundle.

        :raises Refusal: none is known whose digest is.
        """
        if self._wanted["file"]:
            return self._wanted["file"], self._wanted["sha256"]
        url, digest = ofed_release.bundle(self._wanted["release"], self._facts)
        if not digest:
            raise Refusal(
                f"MLNX_OFED {self._version}",
                f"of {url or 'its bundle'} no sha256 is known that it could be checked against",
                "Say gpunode_ofed_file: FILE#sha256=DIGEST",
            )
        return url, digest

    @property
    def _archive(self):
        return os.path.join(_WORK_DIR, f"{self._source[1]}.tgz")

    def needs(self):
        """Return the names of the files of the controller that the host lacks."""
        if not self.exchanges or self._at_hand:
            return []
        file, _digest = self._source
        return [] if "://" in file or file in self._host.sent else [file]

    @cached_property
    def _at_hand(self):
        """The path of the wanted bundle where it lies on the host, '' where it does not."""
        for path in (self._archive, note.kept(self._tree, self._version)):
            if path and os.path.isfile(path) and files.sha256_of_file(path) == self._source[1]:
                return path
        return ""

    def pins(self):
        """Return {path: TextFile} of what keeps packages of the distribution out."""
        return package_sets.held(self._facts["pkg_mgr"], self.noted)

    # The steps

    def preparing(self):
        """Return what is done beside the stack that is in use."""
        if not self.exchanges:
            return []
        steps = [(f"unpack the bundle of MLNX_OFED {self._version}", self._unpack)]
        if self._facts["pkg_mgr"] == "apt" and not self._adds_kernel_on_debian:
            steps += package_manager.installing(["dkms"], self._host.execute, self._host.run)
        return steps

    def exchanging(self):
        """Return what takes the place of the stack that is there."""
        if not self.exchanges:
            return []
        words = f"install MLNX_OFED {self._version}"
        if self._found["kind"] != "inbox":
            words += f" in place of {rdma_stack.described(self._found)}"
        if self._wanted["firmware_update"]:
            words += ", and update the firmware of the adapters"
        return [(words, self._exchange)]

    def _unpack(self):
        archive = self._fetched()
        os.makedirs(self._wanted["tmpdir"], mode=0o755, exist_ok=True)
        ofed_bundle.refuse_without_room(
            archive, self._wanted["tmpdir"], self._adds_kernel_on_debian
        )
        bundle = ofed_bundle.unpack(archive, self._folder, self._host.execute)
        name = distribution.mellanox_name(self._facts)
        ofed_bundle.refuse_misfits(bundle, self._version, name, self._facts["architecture"])
        installer.refuse_names(self._wanted["options"], bundle.packages)
        package_sets.refuse_dependants(
            f"install MLNX_OFED {self._version}", sorted(self._packages), self._host.execute
        )

    def _fetched(self):
        """Return the path of the bundle on the host, which has its digest."""
        if not self._at_hand:
            file, digest = self._source
            sent = self._host.sent.get(file)
            download.fetch(f"file://{sent}" if sent else file, self._archive, digest)
        return self._at_hand or self._archive

    @property
    def _folder(self):
        return self._folder_of(self._version)

    def _folder_of(self, version):
        return os.path.join(self._wanted["tmpdir"], f"gpunode-mlnx_ofed-{version}")

    def _exchange(self):
        if self._found["kind"] == "doca":
            self.uninstall()
        done = self._install(self._folder)
        lacks = installer.firmware_failure(done)
        # The modules came for one kernel, where DKMS was not asked to build them for all.
        self.complete(self.kernels)
        if lacks and self._wanted["firmware_update"]:
            self.warnings.append(f"The firmware was not updated: {lacks}")

    def _install(self, folder):
        """Run the installer of an unpacked bundle; return its CompletedProcess.

        :raises Refusal: it failed, or another version is there than it should have brought.
        """
        bundle = ofed_bundle.read(folder)
        what = f"install MLNX_OFED {bundle.version}"
        is_exact = bundle.distribution == distribution.mellanox_name(self._facts)
        order = installer.Order(
            self.main_kernel["release"],
            self._wanted["tmpdir"],
            self._adds_kernel(bundle),
            self._wanted["firmware_update"] and bundle.version == self._version,
            "" if is_exact else bundle.distribution,
            self._wanted["options"],
        )
        argv = [os.path.join(folder, "mlnxofedinstall"), *installer.arguments(order)]
        done = commands.run_long(what, argv, _ENVIRONMENT, self._host.execute, "/usr and /var")
        if done.returncode:
            raise installer.failure(what, done, self._tree)
        found = rdma_stack.stack(self._tree, [])
        if found["version"] != bundle.version:
            raise Refusal(
                what,
                f"ofed_info says {found['version'] or 'nothing'} after it",
                "Look at the log of the installer, and run again",
            )
        return done

    def _adds_kernel(self, bundle):
        """Say whether modules of the main kernel come by no other way than a new bundle."""
        if self._facts["pkg_mgr"] == "apt":
            return self._adds_kernel_on_debian
        return self.main_kernel["release"] not in bundle.kernels

    @cached_property
    def _adds_kernel_on_debian(self):
        """Whether the installer would not leave it to DKMS: the kernel's build is no package's."""
        if self._facts["pkg_mgr"] != "apt":
            return False
        build = self._tree.resolve(f"/lib/modules/{self.main_kernel['release']}/build/scripts")
        return bool(build) and not self._tree.answer("dpkg-query", "--search", build)

    def brought(self):
        """Return {name: version} of the installed packages that are of the stack."""
        names = set(ofed_bundle.read(self._folder).packages)
        others = stack_packages.installed(self._tree, names.__contains__)
        return {**package_sets.installed(self._tree), **others}

    def finished(self):
        """Keep the bundle that is installed now."""
        note.keep(self._tree, self._fetched(), self._version)
        # The archive is fetched and proven again where it is needed again.
        shutil.rmtree(_WORK_DIR, ignore_errors=True)

    def tidy(self):
        """Remove what was unpacked on the host, whatever came of it."""
        # What cannot go now does when the same is unpacked again, or that says why not.
        shutil.rmtree(self._folder, ignore_errors=True)

    def reinstall(self, version):
        """Bring back a version whose bundle is kept.

        :raises Refusal: it cannot.
        """
        folder = self._folder_of(version)
        archive = note.kept(self._tree, version)
        try:
            ofed_bundle.unpack(archive, folder, self._host.execute)
            self._install(folder)
            self.complete(self.kernels)
        finally:
            # As in tidy: the error that may be on its way says more.
            shutil.rmtree(folder, ignore_errors=True)
