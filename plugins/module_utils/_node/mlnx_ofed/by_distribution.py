# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The RDMA stack of the host's distribution, in place of whatever vendor's stack is there."""

from __future__ import annotations

import functools
from functools import cached_property

from ..packages import package_manager, stack_packages
from ..rdma import rdma_stack
from ..refusal import Refusal
from ..steps import Step
from ..system.text_files import TextFile
from . import kernel_modules, note, package_sets, removal
from .method import Method
from .observe import Packages, stack


class ByDistribution(Method):
    """What there is to do to have the distribution's own."""

    @cached_property
    def exchanges(self) -> bool:
        """Whether a vendor's stack is there, or a part of one."""
        is_inbox = self.found["kind"] == "inbox"
        return bool(
            not is_inbox
            or self.seen.past.was_cut
            or self.seen.packages.of_vendor
            or self.seen.cores
        )

    @cached_property
    def _names(self) -> list[str]:
        return list(self.wanted["inbox_packages"].get(self.facts["pkg_mgr"], []))

    @property
    def _what(self) -> str:
        return f"remove {rdma_stack.described(self.found)}"

    def preparing(self) -> list[Step]:
        """Return what is done beside the stack that is in use."""
        if not self.exchanges:
            return package_manager.installing_missing(
                self.seen.missing, self.node.execute, self.node.run
            )
        names = self.seen.packages.of_vendor
        check = functools.partial(
            package_sets.refuse_dependants, self._what, names, self.node.execute
        )
        return [Step(f"see that nothing else stands on {rdma_stack.described(self.found)}", check)]

    def exchanging(self) -> list[Step]:
        """Return what takes the place of the stack that is there."""
        if not self.exchanges:
            return []
        return [Step(f"{self._what} and install {', '.join(self._names)}", self._exchange)]

    def completing(self) -> list[Step]:
        """Return the steps that bring modules to kernels: each has its own."""
        return []

    def pins(self, packages: Packages) -> dict[str, TextFile]:
        """Return {path: TextFile} of what keeps a vendor's packages out."""
        manager = self.facts["pkg_mgr"]
        return package_sets.kept_out(manager, packages.installed, packages.locked)

    def refuse(self, consent: list[str]) -> None:
        """Refuse nothing: no modules are built."""

    # The actions

    def _exchange(self) -> None:
        removal.forget_repository()
        removal.uninstall(self._what, self.node, self.facts["pkg_mgr"])
        left = rdma_stack.kernels_of(self.node.tree)
        if left:
            raise Refusal(
                self._what,
                f"its modules are there still for kernel {', '.join(left)}",
                "Remove them from /lib/modules by hand, and run again",
            )
        kernel_modules.renew_images(self.node, self.kernels)
        package_manager.install(self._names, self.node.execute, self.node.run)

    def brought(self) -> dict[str, str]:
        """Return {name: version} of the packages that are to stay."""
        return stack_packages.installed(self.node.tree, self._names.__contains__)

    def finished(self) -> None:
        """Drop what was kept of a vendor's stack."""
        note.forget(self.node.tree)


def reinstall(method: Method, packages: dict[str, str]) -> None:
    """Bring back the distribution's own in place of what came of a vendor's.

    :param method: what came to no good end, whichever way it went.
    :param packages: {name: version} of what was there.
    :raises Refusal: it cannot.
    """
    node = method.node
    removal.forget_repository()
    what = f"remove {rdma_stack.described(stack(node.tree))}"
    removal.uninstall(what, node, method.facts["pkg_mgr"])
    names = [
        name for name, version in packages.items() if not package_sets.is_vendors(name, version)
    ]
    if names:
        package_manager.install(names, node.execute, node.run)
