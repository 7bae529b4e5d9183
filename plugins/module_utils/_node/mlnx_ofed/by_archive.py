# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DOCA-OFED from the archive of Ubuntu, where Canonical packages its kernel modules.

Each series has a package of its own, whose modules DKMS builds; the libraries are the archive's
own, and go on being updated with it (Azure/azhpc-images, components/install_doca.sh). There is
neither openibd nor ofed_info, and no symbols to build modules on it with. "Install and maintain
DOCA-OFED" of Ubuntu Server's documentation has what NVIDIA's repository brought uninstalled before,
and the other way round.
"""

from __future__ import annotations

from functools import cached_property

from ..rdma import rdma_stack
from ..refusal import Refusal
from . import package_sets
from .by_repository import ByRepository


class ByArchive(ByRepository):
    """What there is to do to have the DOCA-OFED of the host's distribution."""

    def own(self, packages: dict[str, str]) -> dict[str, str]:
        """Return {name: version} of those that are held and kept: the libraries are not."""
        return {
            name: version
            for name, version in packages.items()
            if package_sets.is_vendors(name, version)
        }

    @property
    def has_openibd(self) -> bool:
        """Whether the wanted stack has openibd: a reboot brings its modules into memory."""
        return False

    @property
    def _replaces_other(self) -> bool:
        return any(not package_sets.is_canonicals(name) for name in self.seen.packages.of_vendor)

    @cached_property
    def _offers(self) -> dict[str, str]:
        """{name: newest version} of what the archive has of it, and of what is there.

        :raises Refusal: it has not what is wanted.
        """
        names = [*self._asked, *self.seen.packages.installed]
        tree, profile = self.node.tree, self.wanted["profile"]
        offers = self._manager.offered(tree, names)
        stopped = self._manager.stopped(tree, names)
        newest: dict[str, str] = {}
        for name, found in offers.items():
            for version in found:
                # NVIDIA's repository has packages of the same names.
                is_others = name != profile and package_sets.is_vendors(name, version)
                if not is_others and version not in stopped.get(name, []):
                    newest.setdefault(name, version)
        lacking = [name for name in self._asked if name not in newest]
        if lacking:
            raise Refusal(
                self._what,
                f"the archive has no {', '.join(lacking)}, as far as the host's lists tell",
                "Run `apt-get update` on the host, or say mlnx_ofed_repository: doca",
            )
        told = rdma_stack.modules_version({profile: newest[profile]})
        if not self._is_it(told, newest[profile]):
            raise Refusal(
                self._what,
                f"the archive has {profile} {newest[profile]}",
                "Say another gpunode_ofed_version, or mlnx_ofed_repository: doca",
            )
        return newest

    @property
    def _asked(self) -> list[str]:
        """The package of the modules, and what of the distribution's own is not there."""
        there = self.seen.packages.installed
        own = self.wanted["inbox_packages"].get(self.facts["pkg_mgr"], [])
        lacking = [
            name for name in own if name not in there or package_sets.is_vendors(name, there[name])
        ]
        return [self.wanted["profile"], *lacking]

    @cached_property
    def _coming(self) -> dict[str, str]:
        """{name: version} of what is installed by its name: libraries that are there stay."""
        return {name: self._offers[name] for name in self._asked}
