# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A way to an RDMA stack: what there is to plan and to do, and what all ways have in common."""

from __future__ import annotations

import abc
import functools
from functools import cached_property

from ..component.bring import Node
from ..facts_shape import Kernel
from ..kernel import headers, kernels, secure_boot
from ..packages import repositories
from ..rdma import ofed_release, rdma_stack
from ..refusal import Refusal
from ..steps import Step
from ..system import text_files
from ..system.text_files import TextFile
from . import kernel_modules
from .observe import Packages, Seen
from .wanted import Present


class Method(abc.ABC):
    """A way to an RDMA stack; see plan.py for the order of what it does.

    What is planned follows from what is wanted and what was seen. The host is for the actions
    alone, which are carried out later; what those must see of it they look at themselves.

    :param wanted: the wanted state.
    :param seen: what was seen of the host when the work began.
    :param node: the bring.Node.
    """

    def __init__(self, wanted: Present, seen: Seen, node: Node) -> None:
        self.wanted = wanted
        self.seen = seen
        self.node = node
        self.facts = seen.facts
        self.found = seen.facts["rdma_stack"]
        # Sentences about what went wrong beside an exchange that came to its end.
        self.warnings: list[str] = []

    # What each way plans

    @property
    @abc.abstractmethod
    def exchanges(self) -> bool:
        """Whether packages give way, or are put in place anew."""

    @abc.abstractmethod
    def preparing(self) -> list[Step]:
        """Return what is done beside the stack that is in use."""

    @abc.abstractmethod
    def exchanging(self) -> list[Step]:
        """Return what takes the place of the stack that is there."""

    @abc.abstractmethod
    def pins(self, packages: Packages) -> dict[str, TextFile]:
        """Return {path: TextFile} of what keeps packages of other stacks out.

        :param packages: those that are there by then.
        """

    def own(self, packages: dict[str, str]) -> dict[str, str]:
        """Return {name: version} of those packages of RDMA that are held and kept: all.

        :param packages: {name: version}.
        """
        return packages

    def refuse(self, consent: list[str]) -> None:
        """Refuse what would not come to its end.

        :param consent: names of gpunode_consent.
        :raises Refusal: it would not.
        """
        if self.exchanges or self.lacking:
            self._refuse_kernels()
            secure_boot.refuse_unenrolled_key(self.facts["secure_boot"], consent)

    def completing(self) -> list[Step]:
        """Return the steps that bring modules to the kernels that lack them, by DKMS."""
        if not self.lacking:
            return []
        names = ", ".join(row["release"] for row in self.lacking)
        act = functools.partial(kernel_modules.complete_all, self.node, self.lacking)
        return [Step(f"build the RDMA modules for kernel {names}", act)]

    def clearing(self) -> list[Step]:
        """Return the steps that remove what tells of a repository that is not gone by."""
        gone = dict.fromkeys(repositories.paths(repositories.RDMA), text_files.of(None))
        return text_files.settling(gone, self.seen.files)

    # What each way does

    def needs(self) -> list[str]:
        """Return the names of the files of the controller that the host lacks."""
        return []

    @abc.abstractmethod
    def brought(self) -> dict[str, str]:
        """Return {name: version} of the packages that an exchange brought, and that are to stay."""

    @abc.abstractmethod
    def finished(self) -> None:
        """Keep what brings back the stack that an exchange brought, and nothing else."""

    # What is there

    @property
    def is_vendors(self) -> bool:
        """Whether a vendor's stack is wanted, which has openibd and modules of its own."""
        return bool(self.wanted["kind"] != "inbox")

    @property
    def has_openibd(self) -> bool:
        """Whether the wanted stack has openibd, by which its modules come into memory."""
        return self.is_vendors

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The rows of the kernels that the host runs, will run, or can be built for."""
        return kernels.served(self.facts["kernels"])

    @cached_property
    def dkms_trees(self) -> list[tuple[str, str]]:
        """The (name, version) of the stack's trees in DKMS."""
        return kernel_modules.dkms_trees(self.facts["driver"]["dkms"])

    @property
    def is_in_dkms(self) -> bool:
        """Whether DKMS builds the RDMA core for any kernel; an installer brings it for one."""
        return ofed_release.is_in_dkms(self.facts["driver"]["dkms"])

    @cached_property
    def lacking(self) -> list[Kernel]:
        """The rows of the kernels that lack modules of the stack that is there."""
        rows = ofed_release.kernels(self.kernels, self.is_in_dkms)
        return [row for row in rows if not self._has_modules(row["release"])]

    @property
    def lacking_core(self) -> list[Kernel]:
        """The rows of those that lack the RDMA core itself, and not only a module beside it."""
        return [row for row in self.lacking if row["release"] not in self.found["kernels"]]

    def _has_modules(self, release: str) -> bool:
        of_dkms = [self.seen.modules[which, release] for which in self.dkms_trees]
        return release in self.found["kernels"] and all(of_dkms)

    @cached_property
    def is_whole(self) -> bool:
        """Whether all is there that an installation brought, as far as it is known."""
        past = self.seen.past
        lost = past.had_symbols and not self.facts["peer_memory"]["headers"]
        return self.seen.packages.is_whole and not lost and not past.was_cut

    def in_place(self, words: str) -> str:
        """Return the words of an exchange with what it takes the place of."""
        is_inbox = self.found["kind"] == "inbox"
        return words if is_inbox else f"{words} in place of {rdma_stack.described(self.found)}"

    @property
    def comes_by_dkms(self) -> bool:
        """Whether DKMS builds the modules that come: a bundle may have them built already."""
        return bool(self.dkms_trees) or self.facts["pkg_mgr"] == "apt"

    def _refuse_kernels(self) -> None:
        """Refuse where DKMS is to build modules for a kernel that has no headers.

        :raises Refusal: it is.
        """
        for row in self.kernels if self.comes_by_dkms else []:
            if not row["headers"] and not self._has_modules(row["release"]):
                package = headers.packages(row["release"], self.facts["pkg_mgr"])[0]
                raise Refusal(
                    f"RDMA modules for kernel {row['release']}",
                    "the kernel has no headers to build them with",
                    f"Install {package}, or remove that kernel",
                )
