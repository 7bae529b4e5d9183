# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver from packages: one version of all that belongs to it, or nothing of it.

Packages of a driver stand on others of the very same version, which apt does not look for by
itself where a newer one is on offer. So it gets preferences of its own for the transaction.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable
from typing import Any, Callable

from ..component.bring import Node
from ..gpu import driver_archive
from ..kernel import headers as kernel_headers
from ..packages import package_manager, rpm_transaction, stack_packages
from ..packages.package_manager import Manager
from ..refusal import Refusal
from ..steps import Step
from ..system.commands import Execute
from ..system.root import Root
from . import package_archives, package_choice, package_family, pins
from .package_choice import Choice


def installed(tree: Root, family: package_family.Family) -> dict[str, str]:
    """Return {name: version} of the installed packages that belong to the driver."""
    return stack_packages.installed(tree, functools.partial(package_family.belongs, family=family))


def unfinished(tree: Root, family: package_family.Family) -> dict[str, str]:
    """Return {name: version} of those that dpkg began to install or remove, and did not end."""
    return stack_packages.unfinished(tree, functools.partial(package_family.belongs, family=family))


def fetch(
    choice: Choice,
    family: package_family.Family,
    execute: Execute,
    manager: Manager | None = None,
    archives: dict[str, str] | None = None,
) -> None:
    """Have all archives on the host that an installation needs, and change nothing else.

    :param archives: {package: path} of those that lie on the host.
    :raises Refusal: the installation would do harm, or an archive cannot be had whole.
    """
    # Of what is there already apt looks at the size alone.
    shutil.rmtree(package_archives.COMING, ignore_errors=True)
    _put(choice, family, execute, manager, archives, fetches_only=True)


def install(
    choice: Choice,
    family: package_family.Family,
    tree: Root,
    execute: Execute,
    manager: Manager | None = None,
    archives: dict[str, str] | None = None,
) -> None:
    """Install what was chosen, in place of any other version of it.

    :param archives: {package: path} of those that lie on the host.
    :raises Refusal: it would do harm, it failed, or the host has another version afterwards.
    """
    is_whole = not unfinished(tree, family)
    if is_whole and package_choice.is_there(choice, installed(tree, family)):
        return
    belongs = functools.partial(package_family.belongs, family=family)
    rpm_transaction.settle(choice.packages, belongs, tree, execute, manager)
    _put(choice, family, execute, manager, archives=archives)
    _remove_superseded(choice, family, tree, execute, manager)
    there = installed(tree, family)
    wrong = [
        f"{name} {there.get(name, 'none')}, not {version}"
        for name, version in choice.packages.items()
        if version and there.get(name) != version
    ]
    if wrong:
        raise Refusal(
            _what(choice),
            f"the host has something else afterwards: {'; '.join(wrong)}",
            "Look at what else installs packages there, and run again",
        )


def bring_back(
    driver: str,
    before: dict[str, str],
    came: Iterable[str],
    family: package_family.Family,
    tree: Root,
    execute: Execute,
) -> None:
    """Have the packages of a driver that was there before again, from what is kept or offered.

    :param before: {name: version} of its packages.
    :param came: packages that an attempt at another driver brought, and are to go.
    :raises Refusal: not all of them can be had, or it failed.
    """
    choice = Choice(driver, dict(before), list(came))
    manager = package_manager.required(_what(choice))
    archives = package_archives.kept(driver, before, manager)
    install(choice, family, tree, execute, manager, archives)
    # What was fetched for the attempt that failed. The next one removes what stays of it.
    shutil.rmtree(package_archives.COMING, ignore_errors=True)


def came(before: Iterable[str], family: package_family.Family, tree: Root) -> list[str]:
    """Return the names of the driver's packages that came since, be they half installed."""
    there = {*installed(tree, family), *unfinished(tree, family)}
    return sorted(there.difference(before))


def forget(
    names: Iterable[str], tree: Root, execute: Execute, manager: Manager | None = None
) -> None:
    """Purge the settings that packages left when they were removed.

    They are kept until the driver that replaced them is in place: it may have to give way again.

    :raises Refusal: it failed.
    """
    left = stack_packages.residual(tree, set(names).__contains__)
    if left:
        what = f"purge the settings of {', '.join(left)}"
        manager = manager or package_manager.required(what)
        package_manager.transact(
            what, manager.removing, left, manager, execute, may_go=set(left).__contains__
        )


def remove(
    family: package_family.Family,
    tree: Root,
    execute: Execute,
    manager: Manager | None = None,
    staying: Iterable[str] = (),
) -> None:
    """Remove all that belongs to the driver, its settings as well, and what is half installed.

    :param staying: names of packages that stay.
    :raises Refusal: something else would go with it, or it failed.
    """
    _removing(package_manager.transact, family, tree, execute, manager, staying)


def removal(names: Iterable[str], family: package_family.Family, node: Node) -> Step:
    """Return the step that removes the packages of a driver, by :func:`remove`.

    :param names: those that it tells of.
    :param node: the bring.Node.
    """
    action = functools.partial(remove, family, node.tree, node.execute)
    return Step(f"remove {', '.join(names)}", action)


def check_removal(
    family: package_family.Family, tree: Root, execute: Execute, manager: Manager | None = None
) -> None:
    """Raise a Refusal where :func:`remove` would do harm, and remove nothing."""
    _removing(package_manager.judge, family, tree, execute, manager)


def _removing(
    transact: Callable[..., Any],
    family: package_family.Family,
    tree: Root,
    execute: Execute,
    manager: Manager | None,
    staying: Iterable[str] = (),
) -> None:
    names = came(staying, family, tree)
    if names:
        what = "remove the packages of the NVIDIA driver"
        manager = manager or package_manager.required(what)
        belongs = functools.partial(package_family.belongs, family=family)
        transact(what, manager.removing, names, manager, execute, may_go=belongs)


def headers(tree: Root, releases: list[str], manager: str = "apt") -> dict[str, str]:
    """Return {release: package} of the kernels' headers that can be had here.

    That of each kernel by its name, never a metapackage, which would bring the next kernel.

    :param releases: of kernels on disk.
    :param manager: 'apt' or 'dnf', as node_info names it.
    """
    names = {release: kernel_headers.packages(release, manager) for release in releases}
    asked = [name for found in names.values() for name in found]
    there = package_manager.named(manager).available(tree, asked)
    offered = {release: [*filter(there.__contains__, found)] for release, found in names.items()}
    return {release: found[0] for release, found in offered.items() if found}


def install_headers(names: list[str], execute: Execute, manager: Manager | None = None) -> None:
    """Install packages of :func:`headers`.

    :raises Refusal: it would touch a kernel or remove anything, or it failed.
    """
    what = f"install {', '.join(names)}"
    manager = manager or package_manager.required(what)
    package_manager.transact(what, manager.installing, names, manager, execute)


def _put(
    choice: Choice,
    family: package_family.Family,
    execute: Execute,
    manager: Manager | None,
    archives: dict[str, str] | None = None,
    fetches_only: bool = False,
) -> None:
    """Run the transaction that brings what was chosen; see :func:`fetch` and :func:`install`."""
    what = _what(choice)
    manager = manager or package_manager.required(what)
    at_hand = archives or {}
    names = [
        at_hand.get(name) or (manager.exactly(name, version) if version else name)
        for name, version in choice.packages.items()
    ]
    options = (manager.fetching_only,) if fetches_only else ()
    records = pins.coming(choice.driver, family)
    driver_archive.make()
    driver_archive.make(package_archives.COMING)
    are_at_hand = at_hand.keys() >= choice.packages.keys()
    with manager.exchanging(records, package_archives.COMING, are_at_hand) as own:
        package_manager.transact(
            what,
            (*own, *options, *manager.installing),
            [*names, *manager.leaving(choice.superseded)],
            manager,
            execute,
            may_go=functools.partial(package_family.belongs, family=family),
        )


def _remove_superseded(
    choice: Choice,
    family: package_family.Family,
    tree: Root,
    execute: Execute,
    manager: Manager | None,
) -> None:
    """Remove what was to go and was in nobody's way, where a transaction leaves that."""
    left = sorted(set(choice.superseded).intersection(installed(tree, family)))
    if left:
        what = f"remove {', '.join(left)}"
        manager = manager or package_manager.required(what)
        may_go = set(left).__contains__
        package_manager.transact(what, manager.removing, left, manager, execute, may_go)


def _what(choice: Choice) -> str:
    return f"install {', '.join(choice.packages)} {choice.driver}".rstrip()
