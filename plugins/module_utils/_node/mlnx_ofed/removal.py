# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removing a vendor's RDMA stack, by its own uninstaller and whatever that leaves."""

from __future__ import annotations

from ..component.bring import Node
from ..kernel import dkms
from ..packages import repositories
from ..system import commands, text_files
from . import installer, kernel_modules, package_sets

_UNINSTALLER = "/usr/sbin/ofed_uninstall.sh"


def uninstall(what: str, node: Node, manager: str) -> None:
    """Remove the vendor's stack that is there.

    :param what: what is done, for the messages.
    :param node: the bring.Node.
    :param manager: 'apt' or 'dnf', as node_info names it.
    :raises Refusal: others stand on it, or it failed.
    """
    tree = node.tree
    # What is held may not bring the vendor's packages back.
    package_sets.free(manager)
    # NVIDIA DOCA documentation, "Uninstalling Software from Host": its own names first.
    doca = [name for name in package_sets.of_vendor(tree) if name.startswith("doca-")]
    if doca:
        # What is half installed apt would bring to its end, which is what may have failed.
        doca += package_sets.unfinished_of_vendor(tree)
        package_sets.remove(what, sorted(set(doca)), node.execute)
    if tree.exists(_UNINSTALLER):
        argv = [_UNINSTALLER, "--force"]
        done = commands.run_long(what, argv, {"LC_ALL": "C.UTF-8"}, node.execute, "/var")
        if done.returncode:
            raise installer.failure(what, done, tree)
    for name, version in kernel_modules.dkms_trees_now(tree):
        dkms.remove(tree, name, version, node.execute)
    kernel_modules.remove_orphans(node)
    package_sets.remove(what, package_sets.of_vendor(tree), node.execute)


def forget_repository() -> None:
    """Remove what tells of DOCA's repository, from which its packages would come back."""
    text_files.put_all(
        {path: text_files.of(None) for path in repositories.paths(repositories.RDMA)}
    )
