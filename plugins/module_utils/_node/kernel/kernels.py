# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernels of a host: on disk, the one that boots next, and whether modules can be built."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..facts_shape import Kernel
from ..packages import deb_version
from ..system.root import Root
from . import boot_loader

MODULES = "/lib/modules"
# Without quotes in auto.conf.
_COMPILED_BY = re.compile(rb'^CONFIG_CC_VERSION_TEXT="?(.*?)"?\s*$', re.MULTILINE)
# linux v6.1, kernel/module/procfs.c: name, size, number of users, and "a,b," of those that are
# modules or "-". A module without an exit has "[permanent]," among them; a kernel that unloads none
# (CONFIG_MODULE_UNLOAD) has "-" for the number as well. One that is on its way out has -1, and
# stays so where that hangs.
_LOADED = re.compile(r"(\S+) [0-9]+ ([0-9]{1,9}|-1?) (\S+)")
_PERMANENT = "[permanent]"


class Users(NamedTuple):
    """Who uses a loaded module.

    :ivar number: how many do; 0 where the kernel does not count them any more.
    :ivar modules: the names of those that are modules.
    :ivar is_permanent: whether it stays until a reboot, whoever uses it.
    """

    number: int
    modules: list[str]
    is_permanent: bool


def loaded_modules(tree: Root) -> set[str]:
    """Return the names of the modules that the running kernel has loaded."""
    return set(module_users(tree))


def module_users(tree: Root) -> dict[str, Users]:
    """Return {loaded module: its Users}."""
    found = {}
    for row in filter(None, map(_LOADED.match, tree.lines("/proc/modules"))):
        name, number, users = row.groups()
        names = [user for user in users.strip("-").split(",") if user]
        is_counted = not number.startswith("-")
        found[name] = Users(
            int(number) if is_counted else 0,
            [user for user in names if user != _PERMANENT],
            not is_counted or _PERMANENT in names,
        )
    return found


def above(tree: Root, names: Iterable[str]) -> set[str]:
    """Return the names of the loaded modules that stand on some, be it by others between."""
    users = module_users(tree)
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        holders = users.get(ahead.pop())
        new = set(holders.modules if holders else ()) - found
        found |= new
        ahead += new
    return found


def survey(tree: Root, running: str) -> list[Kernel]:
    """Return [{release, running, next, headers, compiler, compiler_found}], newest first.

    Of the kernels with modules below /lib/modules those that can boot or be built for.

    :param running: the release of the running kernel.
    """
    releases = sorted(
        (
            release
            for release in tree.names(MODULES)
            if _can_boot(tree, release) or tree.exists(_build(tree, release))
        ),
        key=deb_version.kernel_key,
        reverse=True,
    )
    bootable = [release for release in releases if _can_boot(tree, release)]
    upcoming = boot_loader.next_release(tree, bootable)
    compilers = {release: _compiler(tree, release) for release in releases}
    if not compilers.get(running, "-"):
        compilers[running] = _named(tree.text("/proc/version").partition(") (")[2])
    found = _found(tree, set(compilers.values()) - {""})
    return [
        {
            "release": release,
            "running": release == running,
            "next": release == upcoming,
            "headers": tree.exists(f"{_build(tree, release)}/Makefile"),
            "compiler": compilers[release],
            "compiler_found": compilers[release] in found,
        }
        for release in releases
    ]


def served(rows: Iterable[Kernel]) -> list[Kernel]:
    """Return those rows of :func:`survey` that modules are wanted for.

    Those of the kernels that run, that boot next, and that modules can be built for.
    """
    return [row for row in rows if row["running"] or row["next"] or row["headers"]]


def in_service(rows: Iterable[Kernel]) -> list[Kernel]:
    """Return those rows of :func:`served` that the host runs or will run.

    Where it runs none, as in an image, all.
    """
    rows = served(rows)
    return [row for row in rows if row["running"] or row["next"]] or rows


def beside_own(tree: Root, release: str) -> Iterator[str]:
    """Yield the paths of modules that others brought to a kernel, folder by folder in order.

    A link that leads nowhere is none.
    """
    top = f"{MODULES}/{release}"
    for folder, folders, names in os.walk(tree.path(top)):
        inside = os.path.relpath(folder, tree.path(top))
        folders[:] = sorted(name for name in folders if (inside, name) != (".", "kernel"))
        for name in sorted(names):
            path = os.path.normpath(f"{top}/{inside}/{name}")
            if ".ko" in name and tree.exists(path):
                yield path


def _can_boot(tree: Root, release: str) -> bool:
    return tree.exists(f"/boot/vmlinuz-{release}") or tree.exists(f"{MODULES}/{release}/vmlinuz")


def _build(tree: Root, release: str) -> str:
    """Return the folder with what modules are built against, whether or not it is there."""
    return tree.resolve(f"{MODULES}/{release}/build")


def _compiler(tree: Root, release: str) -> str:
    """Return the compiler that built a kernel, as 'gcc-12'; '' where its configuration is silent.

    The kernel writes it down since 4.18 (init/Kconfig, CC_VERSION_TEXT); of one that runs
    /proc/version tells as well.
    """
    build = _build(tree, release)
    for path in (
        f"/boot/config-{release}",
        f"{build}/.config",
        f"{build}/include/config/auto.conf",
    ):
        match = _COMPILED_BY.search(tree.data(path))
        if match:
            return _named(match.group(1).decode("utf-8", "replace"))
    return ""


def _named(words: str) -> str:
    """Return the name and major version in a compiler's own line about itself."""
    whole = re.match(r"\S*?\b((?:gcc|clang)-[0-9]+)\b", words)
    if whole:
        return whole.group(1)
    name = re.search(r"\b(gcc|clang)\b", words)
    # What is in parentheses is the version of the package.
    version = re.search(r"\b([0-9]+)\.[0-9]", re.sub(r"\([^)]*\)", "", words))
    return f"{name.group(1)}-{version.group(1)}" if name and version else ""


def _found(tree: Root, compilers: Iterable[str]) -> set[str]:
    """Return those of some compilers that are there, by that name or as plain gcc."""
    found = {compiler for compiler in compilers if tree.has_program(compiler)}
    if found != compilers and tree.has_program("gcc"):
        found.add(f"gcc-{tree.answer('gcc', '-dumpversion').strip().partition('.')[0]}")
    return found
