# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel modules of a vendor's RDMA stack, as far as they are DKMS's."""

from __future__ import annotations

import os

from ..component.bring import Node
from ..facts_shape import DkmsTree, Kernel
from ..kernel import dkms, dkms_status, initramfs, kernels, modinfo
from ..rdma import ofed_release
from ..system.root import Root

# The trees beside that of the RDMA core, which is built first: they are built with its symbols.
_OTHERS = (
    *("mlnx-nfsrdma", "mlnx-nvme", "iser", "isert", "srp", "virtiofs"),
    *("knem", "xpmem", "kernel-mft-dkms"),
)
# What tells builds of a module apart: path, inode and time of what DKMS keeps of it.
Builds = frozenset[tuple[str, int, int]]
NO_BUILDS: Builds = frozenset()


def dkms_trees(rows: list[DkmsTree]) -> list[tuple[str, str]]:
    """Return [(name, version)] of the stack's trees, in the order in which they are built.

    :param rows: of all trees of DKMS, see dkms_status.survey.
    """
    found = {(row["name"], row["version"]) for row in rows if _is_ours(row["name"])}
    return sorted(found, key=lambda row: _OTHERS.index(row[0]) if row[0] in _OTHERS else -1)


def dkms_trees_now(tree: Root) -> list[tuple[str, str]]:
    """Return [(name, version)] of those that DKMS has by now; see :func:`dkms_trees`."""
    return dkms_trees(dkms_status.survey(tree))


def remove_orphans(node: Node) -> None:
    """Remove the stack's trees that lead to no sources, beside which packages do not come.

    :param node: the bring.Node.
    :raises Refusal: one cannot be removed.
    """
    for name, version in dkms_status.orphans(node.tree):
        if _is_ours(name):
            dkms.remove(node.tree, name, version, node.execute)


def paths(tree: Root, which: tuple[str, str], release: str) -> list[str]:
    """Return the paths of a tree's modules for a kernel; [] where one is not there, or is broken.

    :param which: (name, version) of the tree in DKMS, which keeps a copy of what it built.
    """
    built = dkms.built_files(tree, *which, release)
    there = {_stem(path): path for path in kernels.beside_own(tree, release)}
    found = [there[name] for name in built if name in there]
    told = modinfo.described(tree, found)
    fits = all(row.get("vermagic", "").startswith(f"{release} ") for row in told.values())
    return found if fits and len(found) == len(built) else []


def builds(tree: Root) -> Builds:
    """Return the builds of the stack's modules that DKMS has by now."""
    found: set[tuple[str, int, int]] = set()
    for which in dkms_trees_now(tree):
        for release in tree.names(dkms.folder_of(*which)):
            found.update(_builds(tree, which, release))
    return frozenset(found)


def add_forgotten(node: Node) -> None:
    """Have DKMS take the stack's trees again whose sources packages have brought.

    That of the RDMA core has the series alone for its version on Enterprise Linux.

    :param node: the bring.Node.
    :raises Refusal: DKMS does not take one.
    """
    dkms.add_packaged(node.tree, _is_ours, node.execute)


def complete_all(node: Node, rows: list[Kernel], outdated: Builds = NO_BUILDS) -> None:
    """Have DKMS build and install the stack's modules for kernels that lack any of them.

    :param node: the bring.Node.
    :param rows: of kernels.survey.
    :param outdated: what counts as none, since it was built from other sources.
    :raises Refusal: they cannot be built.
    """
    # Those that an exchange has brought, which nobody saw before it.
    for which in dkms_trees_now(node.tree):
        for kernel in rows:
            complete(node, which, kernel, outdated)
    renew_images(node, rows)


def renew_images(node: Node, rows: list[Kernel]) -> None:
    """Take the modules before out of each initramfs, from where they would come back.

    :param node: the bring.Node.
    :param rows: of kernels.survey.
    :raises Refusal: one cannot be made anew.
    """
    for row in rows:
        if initramfs.is_there(node.tree, row["release"]):
            initramfs.rebuild(node.tree, row["release"], node.execute)


def complete(
    node: Node, which: tuple[str, str], kernel: Kernel, outdated: Builds = NO_BUILDS
) -> None:
    """Have DKMS build and install a tree for a kernel, unless its modules are there.

    :param node: the bring.Node.
    :param which: (name, version) of the tree.
    :param kernel: the row of kernels.survey.
    :param outdated: see :func:`complete_all`.
    :raises Refusal: they cannot be built.
    """
    release = kernel["release"]
    if paths(node.tree, which, release) and not outdated & _builds(node.tree, which, release):
        return
    what = f"build the modules of {which[0]} {which[1]} for kernel {release}"
    done = dkms.build_for(release, which, what, node.tree, node.execute)
    if done.returncode:
        remedy = "Name a release of the RDMA stack that builds for this kernel, or remove it"
        raise dkms.not_built(node.tree, which, kernel, what, done, remedy)
    dkms.install_for(release, which, what, node.tree, node.execute)


def _builds(tree: Root, which: tuple[str, str], release: str) -> Builds:
    found = dkms.built_files(tree, *which, release).values()
    stats = [(path, os.stat(tree.path(path))) for path in found]
    return frozenset((path, stat.st_ino, stat.st_mtime_ns) for path, stat in stats)


def _is_ours(name: str) -> bool:
    return name in _OTHERS or ofed_release.has_core(name)


def _stem(path: str) -> str:
    return os.path.basename(path).partition(".ko")[0]
