# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the ways to an RDMA stack have in common: the kernels it is for, and its modules in DKMS."""

from __future__ import annotations

import functools
from functools import cached_property

from ..kernel import dkms, initramfs, kernels
from ..packages import repositories, stack_packages
from ..rdma import ofed_release, rdma_stack
from ..refusal import Refusal
from ..system import commands, text_files
from . import installer, note, package_sets
from . import kernel_modules as ofed_modules

_UNINSTALLER = "/usr/sbin/ofed_uninstall.sh"


class Method:
    """A way to an RDMA stack; see mlnx_ofed/converge.py for the order of what it does.

    :param wanted: the wanted state of plugin_utils/_controller/components/mlnx_ofed.py.
    :param host: the bring.Host.
    """

    def __init__(self, wanted, host):
        self._wanted = wanted
        self._host = host
        self._tree = host.tree
        self._facts = host.survey()
        self._found = self._facts["rdma_stack"]
        self._packages = package_sets.installed(self._tree)
        self._was_cut = note.is_at_work(self._tree)
        # Sentences about what went wrong beside an exchange that came to its end.
        self.warnings = []

    # What a way has that needs no file.

    def needs(self):
        """Return the names of the files of the controller that the host lacks."""
        return []

    def tidy(self):
        """Remove what was unpacked on the host, whatever came of it."""

    # What is there

    @cached_property
    def kernels(self):
        """The rows of the kernels that the host runs, will run, or can be built for."""
        return kernels.served(self._facts["kernels"])

    @cached_property
    def main_kernel(self):
        """The row of the kernel that the installer is told.

        :raises Refusal: no kernel can have modules.
        """
        found = ofed_release.first(self.kernels)
        if not found:
            raise Refusal(
                "RDMA modules",
                "no kernel of this host has headers to build them with",
                "Install linux-headers-… of a kernel that is there, or on Enterprise Linux "
                "kernel-devel",
            )
        return found[0]

    @cached_property
    def lacking(self):
        """The rows of the kernels that lack modules of the stack that is there."""
        rows = ofed_release.kernels(self.kernels, bool(self._trees_before))
        return [row for row in rows if not self._has_modules(row["release"])]

    @cached_property
    def _trees_before(self):
        return ofed_modules.trees(self._facts["driver"])

    def _has_modules(self, release):
        found = [ofed_modules.paths(self._tree, row, release) for row in self._trees_before]
        return release in self._found["kernels"] and all(found)

    @cached_property
    def is_whole(self):
        """Whether all is there that an installation brought, as far as it is known."""
        found = stack_packages.installed(self._tree, self.noted.__contains__)
        unfinished = stack_packages.unfinished(self._tree, stack_packages.RDMA.fullmatch)
        lost = note.had_symbols(self._tree) and not self._facts["peer_memory"]["headers"]
        return found == self.noted and not unfinished and not lost and not self._was_cut

    @cached_property
    def noted(self):
        """{name: version} of what an installation brought; of one that was found, what is there."""
        return note.packages(self._tree) or self._packages

    def refuse_kernels(self):
        """Refuse where DKMS is to build modules for a kernel that has no headers.

        On Enterprise Linux a bundle has modules that are built already.

        :raises Refusal: it is.
        """
        by_dkms = self._trees_before or self._facts["pkg_mgr"] == "apt"
        for row in self.kernels if by_dkms else []:
            if not row["headers"] and not self._has_modules(row["release"]):
                raise Refusal(
                    f"RDMA modules for kernel {row['release']}",
                    "the kernel has no headers to build them with",
                    f"Install linux-headers-{row['release']}, on Enterprise Linux "
                    f"kernel-devel-{row['release']}, or remove that kernel",
                )

    def _trees(self):
        """Return [(name, version)] of the stack's trees in DKMS, as they are now."""
        return ofed_modules.trees(self._host.survey()["driver"])

    def complete(self, rows):
        """Have DKMS build and install the stack's modules for kernels that lack any of them.

        :param rows: of kernels.survey.
        :raises Refusal: they cannot be built.
        """
        for which in self._trees():
            for kernel in rows:
                ofed_modules.complete(self._host, which, kernel)
        self.renew_images(rows)

    def renew_images(self, rows):
        """Take the modules before out of each initramfs, from where they would come back.

        :param rows: of kernels.survey.
        :raises Refusal: one cannot be made anew.
        """
        for row in rows:
            if initramfs.is_there(self._tree, row["release"]):
                initramfs.rebuild(self._tree, row["release"], self._host.execute)

    def completing(self):
        """Return the steps that bring modules to the kernels that lack them, by DKMS."""
        if not self.lacking:
            return []
        names = ", ".join(row["release"] for row in self.lacking)
        act = functools.partial(self.complete, self.lacking)
        return [(f"build the RDMA modules for kernel {names}", act)]

    def clearing(self):
        """Return the steps that remove what tells of a repository that is not gone by."""
        paths = repositories.paths(repositories.RDMA)
        return text_files.settling({path: text_files.of(None) for path in paths})

    def uninstall(self):
        """Remove the vendor's stack that is there by its own uninstaller, and what that leaves.

        :raises Refusal: others stand on it, or it failed.
        """
        what = f"remove {rdma_stack.described(self._found)}"
        # Neither what is held nor a repository may bring the vendor's packages back.
        package_sets.free(self._facts["pkg_mgr"])
        for _says, act in self.clearing():
            act()
        # NVIDIA DOCA documentation, "Uninstalling Software from Host": its own names first.
        doca = [name for name in package_sets.of_vendor(self._tree) if name.startswith("doca-")]
        if doca:
            # What is half installed apt would bring to its end, which is what may have failed.
            doca += package_sets.unfinished(self._tree)
            package_sets.remove(what, sorted(set(doca)), self._host.execute)
        if self._tree.exists(_UNINSTALLER):
            argv = [_UNINSTALLER, "--force"]
            done = commands.run_long(what, argv, {"LC_ALL": "C.UTF-8"}, self._host.execute, "/var")
            if done.returncode:
                raise installer.failure(what, done, self._tree)
        for name, version in self._trees():
            dkms.remove(self._tree, name, version, self._host.execute)
        package_sets.remove(what, package_sets.of_vendor(self._tree), self._host.execute)
