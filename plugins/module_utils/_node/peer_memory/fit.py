# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a module would load: held against the driver and the RDMA stack that lie on the host."""

from __future__ import annotations

from typing import NamedTuple

from ..kernel import module_file
from ..rdma import module_fit, symbols
from ..system.root import Root


class Against(NamedTuple):
    """What the modules for one kernel are held against.

    :ivar release: of the kernel.
    :ivar driver: the driver's module.
    :ivar others: what the RDMA stack exports.
    """

    release: str
    driver: module_file.KernelModule
    others: list[module_fit.Provider]


def against(tree: Root, release: str, driver: str) -> Against:
    """Read what the modules for one kernel are held against.

    :param tree: the host.
    :param driver: the path of the driver's module.
    :raises Refusal: it cannot be read, or there is no RDMA stack that takes clients.
    """
    folder = symbols.folder_of(tree, release)
    return Against(
        release,
        module_file.read(tree.path(driver)),
        symbols.providers(tree, release, folder),
    )


def hold(tree: Root, path: str, name: str, found: Against) -> None:
    """Hold a module against the driver and the RDMA stack.

    :param tree: the host.
    :param path: of the module.
    :param name: of the module.
    :raises Refusal: it would not load.
    """
    module = module_file.read(tree.path(path))
    module_fit.refuse_misfits(module, name, found.release, found.driver, found.others)
