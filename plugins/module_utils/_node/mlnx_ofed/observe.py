# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be seen of a host's RDMA stack: all that planning needs, looked at once."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ..component.bring import Node
from ..facts_shape import RdmaStackKind, Surveyed
from ..kernel import kernels
from ..packages import database, pins, repositories, stack_packages
from ..packages.repositories import Sources
from ..rdma import ofed_release, rdma_stack
from ..system import text_files
from ..system.root import Root
from ..system.text_files import OnDisk, TextFile
from . import kernel_modules, note, openibd, package_sets
from .wanted import Present

# The symbols of the RDMA core, with which modules of others are built.
_SYMBOLS = "/usr/src/ofa_kernel/default/Module.symvers"


class Packages(NamedTuple):
    """The packages of RDMA stacks.

    :ivar installed: {name: version} of those of whatever stack.
    :ivar brought: {name: version} of what an installation brought; of a stack that was found, what
        is there.
    :ivar is_whole: whether all that was brought is there as it was, and nothing is half installed.
    :ivar of_vendor: the names of those that are no distribution's.
    :ivar locked: the text of pins.VERSIONLOCK, None where there is none.
    """

    installed: dict[str, str]
    brought: dict[str, str]
    is_whole: bool
    of_vendor: list[str]
    locked: str | None


class Past(NamedTuple):
    """What the host remembers of exchanges, see note.py.

    :ivar was_cut: whether one was begun that did not come to its end.
    :ivar kept: the version whose bundle is kept, '' for none.
    :ivar had_symbols: whether the symbols of the RDMA core were there.
    """

    was_cut: bool
    kept: str
    had_symbols: bool


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was seen of a host.

    :ivar facts: those of docs/facts.md.
    :ivar modules: {(tree of DKMS, release): paths of its modules}, see kernel_modules.paths.
    :ivar cores: the paths of a vendor's RDMA core.
    :ivar symbols: the path of the symbols of the RDMA core, '' for none.
    :ivar has_openibd: whether there is the service.
    :ivar starts_not: whether there is the service, and it does not start at boot.
    :ivar files: what lies where pins do, and what tells of a repository.
    :ivar offering: what of that is to change for the wanted repository.
    :ivar missing: those packages, of what a way needs before it begins, that are not there.
    :ivar is_own_build: whether the kernel that the installer is told has a build tree that is no
        package's, on Debian's family.
    """

    facts: Surveyed
    packages: Packages
    past: Past
    modules: dict[tuple[tuple[str, str], str], list[str]]
    cores: list[str]
    symbols: str
    has_openibd: bool
    starts_not: bool
    files: dict[str, OnDisk]
    offering: dict[str, TextFile]
    missing: list[str]
    is_own_build: bool


def observe(wanted: Present, node: Node, facts: Surveyed) -> Seen:
    """Return what is to be seen of a host now.

    :param wanted: the wanted state.
    :param node: the bring.Node.
    :param facts: what its survey told last.
    :raises Refusal: it is not known where the wanted repository is.
    """
    tree = node.tree
    is_vendors = wanted["kind"] != "inbox"
    is_doca = wanted["kind"] == "doca"
    paths = [*repositories.paths(repositories.RDMA), *package_sets.PATHS]
    return Seen(
        facts,
        packages(tree),
        Past(note.is_at_work(tree), note.kept_version(tree), note.had_symbols(tree)),
        _modules(tree, facts),
        rdma_stack.vendor_cores(tree),
        tree.resolve(_SYMBOLS) if tree.exists(_SYMBOLS) else "",
        openibd.is_there(tree),
        is_vendors and openibd.starts_not(node),
        text_files.look(paths),
        sources(wanted, facts, tree).stale() if is_doca else {},
        database.missing(_needed(wanted, facts["pkg_mgr"]), node.run),
        _is_own_build(tree, facts),
    )


def packages(tree: Root) -> Packages:
    """Return the packages of RDMA stacks as they are now."""
    installed = package_sets.installed(tree)
    brought = note.packages(tree) or installed
    left = stack_packages.installed(tree, brought.__contains__)
    return Packages(
        installed,
        brought,
        left == brought and not package_sets.unfinished(tree),
        package_sets.of_vendor(tree),
        text_files.read(pins.VERSIONLOCK),
    )


def stack(tree: Root) -> RdmaStackKind:
    """Return which RDMA stack is there now, as its packages tell."""
    rows = stack_packages.installed(tree).items()
    return rdma_stack.stack(tree, [{"name": name, "version": version} for name, version in rows])


def sources(wanted: Present, facts: Surveyed, tree: Root) -> Sources:
    """Return the Sources of the wanted DOCA-OFED."""
    where, address = wanted["repository"], wanted["repository_url"]
    return repositories.Sources(repositories.RDMA, where, facts, tree, address)


def _modules(tree: Root, facts: Surveyed) -> dict[tuple[tuple[str, str], str], list[str]]:
    releases = [row["release"] for row in facts["kernels"]]
    return {
        (which, release): kernel_modules.paths(tree, which, release)
        for which in kernel_modules.dkms_trees(facts["driver"]["dkms"])
        for release in releases
    }


def _needed(wanted: Present, manager: str) -> list[str]:
    """Return the names of the packages that a way needs before it begins.

    :param manager: 'apt' or 'dnf', as node_info names it.
    """
    # dnf holds to its list of versions by a plugin alone.
    holding = [] if manager == "apt" else [pins.DNF_PLUGIN]
    return {
        "mlnx_ofed": ["dkms"] if manager == "apt" else holding,
        "doca": holding,
        "inbox": wanted["inbox_packages"].get(manager, []),
    }[wanted["kind"]]


def _is_own_build(tree: Root, facts: Surveyed) -> bool:
    if facts["pkg_mgr"] != "apt":
        return False
    for row in ofed_release.first(kernels.served(facts["kernels"])):
        build = tree.resolve(f"{kernels.MODULES}/{row['release']}/build/scripts")
        return bool(build) and not tree.answer("dpkg-query", "--search", build)
    return False
