# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of RDMA stacks: whose they are, removing them, and keeping one stack's from another's.

MLNX_OFED and DOCA-OFED bring packages of the distribution's names in versions of their own.
"""

from __future__ import annotations

import collections.abc
import re

from ..packages import package_manager, pins, stack_packages
from ..refusal import Refusal
from ..system import text_files
from ..system.commands import Execute
from ..system.root import Root
from ..system.text_files import TextFile

PREFERENCES = "/etc/apt/preferences.d/gpunode-rdma"
PATHS = (PREFERENCES, pins.VERSIONLOCK)
_COMPONENT = "RDMA stack"
# What no distribution has under that name.
# What Canonical packages of DOCA-OFED: its modules to build, those that are built already, and by
# its archive of packages to come (PPA) what brings these along for a flavour of the kernel; Ubuntu
# Server documentation, "Install and maintain DOCA-OFED".
_CANONICALS = re.compile(
    r"doca-ofed-[0-9]+\.[0-9]+-dkms|linux-(?:main-)?modules-doca-ofed-.+"
    r"|doca-ofed-userspace-[0-9].*|doca-ofed-(?:aws|azure|gcp|generic|oracle)(?:-.+)?"
)
_VENDORS = re.compile(
    r"(?:kmod-)?(?:mlnx|mlx)[-_].+|mlnxofed-.+|doca-.+|ofed-scripts|mft(?:-.+)?|kernel-mft.*"
    rf"|{_CANONICALS.pattern}"
    r"|(?:iser|isert|srp|knem|xpmem|virtiofs)-(?:dkms|modules)"
    r"|kmod-(?:iser|isert|srp|knem|xpmem)(?:-.+)?"
)
# How versions of shared names tell: 2410mlnx54-1.2410114 and 24.10.0-0.65.g9093bae.2410114, both
# with .rhel9u4 behind them on Enterprise Linux, from 25.10 on 2510.0.11-1 and of perftest there
# 25.10.0-0.134.g8aff167; and those of the first and the last kind as globs.
_VENDORS_VERSION = re.compile(
    r".*mlnx.*|.*\.[0-9]{7}(?:\.rhel.+)?|[0-9]{4}\..*|[0-9.]+-0\.[0-9]+\.g[0-9a-f]{7}"
)
_VENDORS_GLOBS = ("*mlnx*", "[0-9][0-9][0-9][0-9].*")
# DOCA's repositories have a dkms of their own: Azure/azhpc-images@61824ee7, install_doca.sh, which
# keeps it out alike, by the label of their Release file.
_DKMS = f"Package: dkms\nPin: release l=DOCA-HOST*\nPin-Priority: {pins.NEVER}\n"


def installed(tree: Root) -> dict[str, str]:
    """Return {name: version} of the installed packages of whatever RDMA stack."""
    return stack_packages.installed(tree, stack_packages.RDMA.fullmatch)


def of_vendor(tree: Root) -> list[str]:
    """Return the names of those that are no distribution's, also of what was half installed."""
    found = installed(tree)
    whole = [name for name, version in found.items() if is_vendors(name, version)]
    return sorted({*whole, *unfinished_of_vendor(tree)})


def unfinished(tree: Root) -> list[str]:
    """Return the names of the half installed packages of whatever RDMA stack."""
    return list(stack_packages.unfinished(tree, stack_packages.RDMA.fullmatch))


def unfinished_of_vendor(tree: Root) -> list[str]:
    """Return the names of a vendor's packages that are half installed."""
    return list(stack_packages.unfinished(tree, _VENDORS.fullmatch))


def is_vendors(name: str, version: str) -> bool:
    """Say whether a package is of MLNX_OFED or DOCA-OFED."""
    return bool(_VENDORS.fullmatch(name) or _VENDORS_VERSION.fullmatch(version))


def is_canonicals(name: str) -> bool:
    """Say whether a package is of the DOCA-OFED that Ubuntu's archive has."""
    return bool(_CANONICALS.fullmatch(name))


def refuse_dependants(what: str, names: list[str], execute: Execute) -> None:
    """Refuse what would take along packages that are of no RDMA stack.

    mlnxofedinstall removes them without a word where it is told not to ask.

    :param names: packages that give way.
    :raises Refusal: others stand on them.
    """
    manager = package_manager.managers_own()
    if not names or not manager:
        return
    argv = manager.simulation(manager.removing, names)
    answer = package_manager.managed(what, argv, manager, execute)
    foreseen = manager.foreseen(answer)
    removed = foreseen.removed if foreseen else []
    others = [name for name in removed if not stack_packages.RDMA.fullmatch(name)]
    if others:
        raise Refusal(
            what,
            f"it would remove what stands on the packages that give way: {', '.join(others)}",
            "Remove those by hand where that is meant, and run again",
        )


def remove(what: str, names: list[str], execute: Execute) -> None:
    """Remove packages of RDMA stacks, with their settings.

    :raises Refusal: others would go with them, or it failed.
    """
    if names:
        manager = package_manager.required(what)
        package_manager.transact(
            what, manager.removing, names, manager, execute, stack_packages.RDMA.fullmatch
        )


def coming(packages: dict[str, str]) -> list[str]:
    """Return the records under which packages of RDMA stacks come in their versions and no other.

    :param packages: {name: version}.
    """
    ours = {name: packages[name] for name in filter(stack_packages.RDMA.fullmatch, packages)}
    return [*pins.held(ours, pins.COMES), pins.record(sorted(ours), "*", pins.NEVER), _DKMS]


def held(manager: str, packages: dict[str, str], locked: str | None) -> dict[str, TextFile]:
    """Return {path: TextFile} of what keeps a vendor's packages as they were installed.

    :param manager: 'apt' or 'dnf', as node_info names it.
    :param packages: {name: version}.
    :param locked: the text of pins.VERSIONLOCK, None where there is none.
    """
    if manager != "apt":
        return _lock(locked, packages)
    records = [*pins.held(packages), pins.record(sorted(packages), "*", pins.NEVER), _DKMS]
    return {PREFERENCES: text_files.of(pins.preferences(records))}


def free(manager: str) -> None:
    """Let any version of the stack's packages come: what was held gives way."""
    wanted = {PREFERENCES: text_files.of(None)} if manager == "apt" else pins.unlock(_COMPONENT)
    text_files.put_all(wanted)


def kept_out(
    manager: str, names: collections.abc.Iterable[str], locked: str | None
) -> dict[str, TextFile]:
    """Return {path: TextFile} of what keeps a vendor's packages from the distribution's place.

    :param names: packages of the distribution's stack.
    :param locked: the text of pins.VERSIONLOCK, None where there is none.
    """
    if manager != "apt":
        return _lock(locked, {}) if locked else {}
    records = [pins.record(sorted(names), glob, pins.NEVER) for glob in _VENDORS_GLOBS]
    return {PREFERENCES: text_files.of(pins.preferences(records))}


def _lock(locked: str | None, packages: dict[str, str]) -> dict[str, TextFile]:
    """Return {path: TextFile} of pins.VERSIONLOCK with packages at their versions."""
    return {pins.VERSIONLOCK: text_files.of(pins.locked(_COMPONENT, locked or "", packages))}
