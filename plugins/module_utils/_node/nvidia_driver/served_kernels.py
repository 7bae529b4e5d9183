# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernels that the driver's modules are built for and put in place of, by either method."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from functools import cached_property

from ..component.bring import Node
from ..facts_shape import Kernel
from ..kernel import dkms, kernels
from ..packages import package_manager
from ..steps import Step
from . import kernel_modules, package_sets
from .target import Target


def offered_headers(target: Target, node: Node) -> dict[str, str]:
    """Return {release: package} of the headers that kernels lack and the host is offered."""
    lacking = [row["release"] for row in target.without_headers]
    return package_sets.headers(node.tree, lacking, target.facts["pkg_mgr"])


class ServedKernels:
    """The kernels of a host that get modules: those that have headers, or will.

    :param target: the wanted driver.
    :param node: the bring.Node.
    :param headers: what :func:`offered_headers` found.
    :param releases: others, where modules are not built for those.
    """

    def __init__(
        self,
        target: Target,
        node: Node,
        headers: dict[str, str],
        releases: Iterable[str] | None = None,
    ) -> None:
        self._facts = target.facts
        self._node = node
        self.headers = headers
        self.releases = [*target.releases, *headers] if releases is None else list(releases)

    @cached_property
    def rows(self) -> list[Kernel]:
        """Their rows of kernels.survey, looked at once a step asks.

        Headers, and a compiler with them, may have come since the host was looked at.
        """
        running = self._facts["kernel"] if self._facts["own_kernel"] else ""
        found = kernels.survey(self._node.tree, running)
        return [row for row in found if row["release"] in self.releases]

    def installing_tools(self, missing: list[str]) -> list[Step]:
        """Return the steps that install what modules are built with.

        Headers come first: on Enterprise Linux DKMS brings those of the newest kernel by itself,
        and that kernel with them, where none are there.

        :param missing: packages that the work takes, beside the headers.
        """
        steps, execute = [], self._node.execute
        if self.headers:
            names = list(self.headers.values())
            install = functools.partial(package_sets.install_headers, names, execute)
            steps.append(Step(f"install {', '.join(names)}", install))
        return [*steps, *package_manager.installing_missing(missing, execute, self._node.run)]

    def put_in_place(self, modules: kernel_modules.Modules) -> None:
        """Install modules for every kernel by DKMS, if by it, and remove the trees of others."""
        tree, execute = self._node.tree, self._node.execute
        if modules.name:
            kernel_modules.install(tree, modules, self.rows, execute)
        for name, version in kernel_modules.others(tree, modules):
            dkms.remove(tree, name, version, execute)
