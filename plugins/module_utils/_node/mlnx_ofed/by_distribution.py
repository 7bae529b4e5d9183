# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The RDMA stack of the host's distribution, in place of whatever vendor's stack is there."""

from __future__ import annotations

import functools
from functools import cached_property

from ..packages import package_manager, stack_packages
from ..rdma import rdma_stack
from ..refusal import Refusal
from . import method, note, package_sets


class Inbox(method.Method):
    """What there is to do to have the distribution's own; see mlnx_ofed/converge.py."""

    def __init__(self, wanted, host):
        super().__init__(wanted, host)
        self._names = wanted["inbox_packages"].get(self._facts["pkg_mgr"], [])

    @cached_property
    def exchanges(self):
        """Whether a vendor's stack is there, or a part of one."""
        return bool(
            self._found["kind"] != "inbox"
            or self._was_cut
            or package_sets.of_vendor(self._tree)
            or rdma_stack.kernels_of(self._tree)
        )

    def preparing(self):
        """Return what is done beside the stack that is in use."""
        if not self.exchanges:
            return package_manager.installing(self._names, self._host.execute, self._host.run)
        names = package_sets.of_vendor(self._tree)
        check = functools.partial(
            package_sets.refuse_dependants, self._what, names, self._host.execute
        )
        return [(f"see that nothing else stands on {rdma_stack.described(self._found)}", check)]

    def exchanging(self):
        """Return what takes the place of the stack that is there."""
        if not self.exchanges:
            return []
        names = ", ".join(self._names)
        return [(f"{self._what} and install {names}", self._exchange)]

    @property
    def _what(self):
        return f"remove {rdma_stack.described(self._found)}"

    def completing(self):
        """Return the steps that bring modules to kernels: each has its own."""
        return []

    def _exchange(self):
        self.uninstall()
        left = rdma_stack.kernels_of(self._tree)
        if left:
            raise Refusal(
                self._what,
                f"its modules are there still for kernel {', '.join(left)}",
                "Remove them from /lib/modules by hand, and run again",
            )
        self.renew_images(self.kernels)
        package_manager.install(self._names, self._host.execute, self._host.run)

    def brought(self):
        """Return {name: version} of the packages that are to stay."""
        return stack_packages.installed(self._tree, self._names.__contains__)

    def pins(self):
        """Return {path: TextFile} of what keeps a vendor's packages out."""
        return package_sets.kept_out(self._facts["pkg_mgr"], package_sets.installed(self._tree))

    def finished(self):
        """Drop what was kept of a vendor's stack."""
        note.forget(self._tree)
