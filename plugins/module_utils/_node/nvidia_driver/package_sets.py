# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver from packages: one version of all that belongs to it, or nothing of it.

Packages of a driver stand on others of the very same version, which apt does not look for by
itself where a newer one is on offer. So it gets preferences of its own for the transaction.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
import shutil
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

from ..component.bring import Host
from ..gpu import driver_archive
from ..packages import (
    apt_transaction,
    deb_version,
    package_manager,
    repositories,
    stack_packages,
    versions,
)
from ..refusal import Refusal
from ..steps import Step
from ..system.root import Root
from . import package_family, pins


class Choice(NamedTuple):
    """What is to be installed.

    :ivar driver: the driver's own version.
    :ivar packages: {name: version}. dnf's module streams ('@nvidia-driver:580-open') have no
        version but their own name.
    :ivar superseded: the names of those that are to go.
    """

    driver: str
    packages: dict[str, str]
    superseded: list[str]


#: Where apt puts what it fetches of the driver, until that is installed and kept.
COMING = os.path.join(driver_archive.DIR, "coming")
_PATIENCE_S = 30
_SOURCES = re.compile(r"-dkms\b|-kernel-source\b")
_HEADERS = {"apt": "linux-headers-{}", "dnf": "kernel-devel-{}"}
# dnf(8), dnf.conf(5): our own pins are passed; a stream of another branch or of the other kind of
# modules takes the place of the one that is enabled, and its packages that of those.
_DNF_OPTIONS = (
    "--disableplugin=versionlock",
    "--setopt=module_stream_switch=True",
    "--allowerasing",
)


def installed(tree: Root, family: package_family.Family) -> dict[str, str]:
    """Return {name: version} of the installed packages that belong to the driver."""
    return stack_packages.installed(tree, functools.partial(package_family.belongs, family=family))


def choose(
    names: list[str],
    offers: dict[str, list[str]],
    branch: str,
    family: package_family.Family,
    version: str = "",
) -> Choice:
    """Return the Choice of the newest version of a branch that all packages are offered in.

    :param names: packages that bring the driver, from the catalog.
    :param offers: what :func:`offered` says of them.
    :param branch: '535'.
    :param family: the package_family.Family of the repository.
    :param version: the driver's own version, where it is to be that one and no other.
    :raises Refusal: there is none.
    """
    # A stream has one version of everything, which nothing but dnf knows.
    if any(name.startswith("@") for name in names):
        return Choice(version, dict.fromkeys(names, ""), [])
    versioned = [name for name in names if package_family.is_versioned(name, family)]
    # Where one is not offered at all, there is no version that all are offered in.
    common = set.intersection(
        *({versions.upstream(offer) for offer in offers.get(name, [])} for name in versioned),
        *({""} for name in names if not offers.get(name)),
    )
    fitting = [
        driver for driver in common if versions.branch(driver) == branch and version in ("", driver)
    ]
    if not fitting:
        raise Refusal(
            f"driver {version or f'branch {branch}'} from packages",
            f"no version of it is offered of all packages: {_offers_in_words(names, offers)}",
            "Choose a version or a branch that is, another repository, or a .run file",
        )
    driver = max(fitting, key=deb_version.key)
    return Choice(driver, {name: _best(offers[name], driver) for name in names}, [])


def is_stream(name: str) -> bool:
    """Say whether a name is a module stream of dnf's, which brings packages of other names."""
    return name.startswith("@")


def of_other_branches(
    there: dict[str, str], branch: str, family: package_family.Family
) -> list[str]:
    """Return the names of those installed packages that are of another branch, in order.

    Names may carry the branch, and then apt has nothing against two of them side by side.

    :param there: {name: version} that are installed, see :func:`installed`.
    """
    return [
        name
        for name, version in sorted(there.items())
        if package_family.is_bound(name, family)
        and versions.branch(versions.upstream(version)) not in ("", branch)
    ]


def heir(name: str, version: str, branch: str) -> str:
    """Return what a package is called in a branch: itself, where its name does not carry its own.

    :param version: of the package: 'libnvidia-nscq-550' 550.90.07-1 is 'libnvidia-nscq-535' there.
    """
    own = versions.branch(versions.upstream(version))
    return re.sub(rf"(?<![0-9]){own}(?![0-9])", branch, name) if own else name


def along(
    choice: Choice,
    there: dict[str, str],
    offers: dict[str, list[str]],
    family: package_family.Family,
    others: Iterable[str] = (),
) -> Choice:
    """Return a Choice with what is installed besides, in the same version where that is offered.

    What is of another branch, and has no heir in this one, is to go.

    :param there: {name: version} that are installed, see :func:`installed`.
    :param offers: what :func:`offered` says of those and of their heirs.
    :param others: packages that bring modules of the other kind, and are to go.
    """
    branch = versions.branch(choice.driver)
    superseded = set(others) & set(there) - set(choice.packages)
    packages = dict(choice.packages)
    for name in sorted(set(there) - superseded - set(packages)):
        if package_family.is_versioned(name, family):
            now = heir(name, there[name], branch) if branch else name
            same = [offer for offer in offers.get(now, []) if _is_of(offer, choice.driver)]
            if same:
                packages.setdefault(now, max(same, key=deb_version.key))
    if branch:
        superseded.update(set(of_other_branches(there, branch, family)).difference(packages))
    return Choice(choice.driver, packages, sorted(superseded))


def with_fabric_manager(
    choice: Choice, names: Iterable[str], offers: dict[str, list[str]]
) -> Choice:
    """Return a Choice with the Fabric Manager of exactly the driver's version.

    :param names: what it may be called, see :func:`fabric_manager_names`.
    :raises Refusal: there is none.
    """
    if any(map(is_stream, choice.packages)):
        # NVIDIA Driver Installation Guide, "Modularity Profiles".
        profiled = {
            f"{name}/fm" if is_stream(name) else name: version
            for name, version in choice.packages.items()
        }
        return choice._replace(packages=profiled)
    for name in names:
        same = [offer for offer in offers.get(name, []) if _is_of(offer, choice.driver)]
        if same:
            packages = {**choice.packages, name: max(same, key=deb_version.key)}
            return choice._replace(packages=packages)
    raise Refusal(
        f"Fabric Manager {choice.driver}",
        "it has to have exactly the driver's version, and is not offered in that: "
        + (_offers_in_words(names, offers) if names else "this repository has none"),
        "Choose a version of the driver that has one, or another repository",
    )


def fabric_manager_names(repository: dict[str, Any], branch: str) -> list[str]:
    """Return what the Fabric Manager of a branch may be called in a repository of the catalog."""
    return [name.format(branch=branch) for name in repository.get("fabric_manager", [])]


def is_there(choice: Choice, there: dict[str, str]) -> bool:
    """Say whether exactly what was chosen is installed.

    :param there: {name: version} that are installed; of a module stream nobody can tell.
    """
    return not set(choice.superseded) & set(there) and all(
        there.get(name) == version for name, version in choice.packages.items()
    )


def fetch(
    choice: Choice,
    family: package_family.Family,
    execute: Callable[..., Any],
    manager: Any = None,
    archives: dict[str, str] | None = None,
) -> None:
    """Have all archives on the host that an installation needs, and change nothing else.

    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :param archives: {package: path} of those that lie on the host.
    :raises Refusal: the installation would do harm, or an archive cannot be had whole.
    """
    # Of what is there already apt looks at the size alone.
    shutil.rmtree(COMING, ignore_errors=True)
    _put(choice, family, execute, manager, archives, fetches_only=True)


def sources(choice: Choice, family: package_family.Family, coming: str = COMING) -> dict[str, str]:
    """Return {name: version} of the packages that have the modules' sources.

    Either they were chosen, or what was chosen stands on them, as cuda-drivers does, and they were
    fetched along. Ubuntu has the sources in one package and their dkms.conf in another.
    """
    fetched = {name: version for name, (version, _path) in _kept_archives(coming).items()}
    return {
        name: version
        for name, version in {**fetched, **choice.packages}.items()
        if package_family.is_bound(name, family) and _SOURCES.search(name)
    }


def install(
    choice: Choice,
    family: package_family.Family,
    tree: Root,
    execute: Callable[..., Any],
    manager: Any = None,
    archives: dict[str, str] | None = None,
) -> None:
    """Install what was chosen, in place of any other version of it.

    :param archives: {package: path} of those that lie on the host.
    :raises Refusal: it would do harm, it failed, or the host has another version afterwards.
    """
    belongs = functools.partial(package_family.belongs, family=family)
    is_whole = not stack_packages.unfinished(tree, belongs)
    if is_whole and is_there(choice, installed(tree, family)):
        return
    _put(choice, family, execute, manager, archives=archives)
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


def keep(
    driver: str,
    there: dict[str, str],
    execute: Callable[..., Any],
    folder: str = driver_archive.DIR,
) -> None:
    """Keep the archives of the packages that are installed, where all of them can be had.

    Those that were fetched for the installation are taken, and only the others fetched.

    :param driver: the driver's own version.
    :param there: {name: version} that are installed, see :func:`installed`.
    """
    driver_archive.make(folder)
    place = os.path.join(folder, driver)
    driver_archive.make(place)
    for path in glob.glob(os.path.join(COMING, "*.deb")):
        shutil.move(path, os.path.join(place, os.path.basename(path)))
    shutil.rmtree(COMING, ignore_errors=True)
    found = apt_transaction.archives(place, there)
    lacking = {name: version for name, version in there.items() if name not in found}
    if lacking:
        # What the archive has no longer is no reason to fail.
        with contextlib.suppress(Refusal):
            found.update(
                _downloaded(f"keep the packages of driver {driver}", lacking, place, execute)
            )
    for left in set(os.listdir(place)) - set(map(os.path.basename, found.values())):
        path = os.path.join(place, left)
        (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    for path in found.values():
        os.chmod(path, 0o600)
    if len(found) == len(there):
        driver_archive.note(driver, driver, folder=folder)
    else:
        # What cannot be gone back to whole would promise what it does not hold.
        shutil.rmtree(place)


def kept(driver: str, there: dict[str, str], folder: str = driver_archive.DIR) -> dict[str, str]:
    """Return {name: path} of the archives that are kept of a driver, {} where it is not."""
    paths = [row["path"] for row in driver_archive.rows(folder=folder) if not row["sha256"]]
    place = os.path.join(folder, driver)
    return apt_transaction.archives(place, there) if place in paths else {}


def kept_choice(
    names: Iterable[str], branch: str, folder: str = driver_archive.DIR
) -> tuple[Choice, dict[str, str]] | None:
    """Return (Choice, {name: path}) of a driver of a branch that is kept whole; None for none.

    :param names: packages that bring the driver, from the catalog.
    """
    for row in driver_archive.rows(folder=folder):
        paths = {} if row["sha256"] else _kept_archives(row["path"])
        if versions.branch(row["version"]) == branch and set(names) <= paths.keys():
            packages = {name: version for name, (version, _path) in paths.items()}
            places = {name: path for name, (_version, path) in paths.items()}
            return Choice(row["version"], packages, []), places
    return None


def _kept_archives(folder: str) -> dict[str, tuple[str, str]]:
    """Return {name: (version, path)} of the archives in a folder, as apt names them."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "*_*_*.deb"))):
        name, version, _architecture = os.path.basename(path).split("_", 2)
        found[name] = (version.replace("%3a", ":"), path)
    return found


def bring_back(
    driver: str,
    before: dict[str, str],
    came: Iterable[str],
    family: package_family.Family,
    tree: Root,
    execute: Callable[..., Any],
) -> None:
    """Have the packages of a driver that was there before again, from what is kept or offered.

    :param before: {name: version} of its packages.
    :param came: packages that an attempt at another driver brought, and are to go.
    :raises Refusal: not all of them can be had, or it failed.
    """
    choice = Choice(driver, dict(before), list(came))
    install(choice, family, tree, execute, archives=kept(driver, before))
    # What was fetched for the attempt that failed. The next one removes what stays of it.
    shutil.rmtree(COMING, ignore_errors=True)


def came(before: Iterable[str], family: package_family.Family, tree: Root) -> list[str]:
    """Return the names of the driver's packages that came since, be they half installed."""
    belongs = functools.partial(package_family.belongs, family=family)
    there = {*installed(tree, family), *stack_packages.unfinished(tree, belongs)}
    return sorted(there.difference(before))


def forget(
    names: Iterable[str], tree: Root, execute: Callable[..., Any], manager: Any = None
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
    execute: Callable[..., Any],
    manager: Any = None,
    staying: Iterable[str] = (),
) -> None:
    """Remove all that belongs to the driver, its settings as well, and what is half installed.

    :param staying: names of packages that stay.
    :raises Refusal: something else would go with it, or it failed.
    """
    _removing(package_manager.transact, family, tree, execute, manager, staying)


def removal(names: Iterable[str], family: package_family.Family, host: Host) -> Step:
    """Return the step that removes the packages of a driver, by :func:`remove`.

    :param names: those that it tells of.
    :param host: the bring.Host.
    """
    action = functools.partial(remove, family, host.tree, host.execute)
    return Step(f"remove {', '.join(names)}", action)


def check_removal(
    family: package_family.Family, tree: Root, execute: Callable[..., Any], manager: Any = None
) -> None:
    """Raise a Refusal where :func:`remove` would do harm, and remove nothing."""
    _removing(package_manager.judge, family, tree, execute, manager)


def _removing(
    transact: Callable[..., Any],
    family: package_family.Family,
    tree: Root,
    execute: Callable[..., Any],
    manager: Any,
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
    names = {release: _HEADERS[manager].format(release) for release in releases}
    if manager == "apt":
        there = repositories.offered(tree, list(names.values()))
    else:
        there = [
            name
            for name in names.values()
            if tree.answer("dnf", "--quiet", "list", name, patience_s=_PATIENCE_S)
        ]
    return {release: name for release, name in names.items() if name in there}


def install_headers(names: list[str], execute: Callable[..., Any], manager: Any = None) -> None:
    """Install packages of :func:`headers`.

    :raises Refusal: it would touch a kernel or remove anything, or it failed.
    """
    what = f"install {', '.join(names)}"
    manager = manager or package_manager.required(what)
    package_manager.transact(what, manager.installing, names, manager, execute)


def unpack(
    name: str,
    version: str,
    folder: str,
    execute: Callable[..., Any],
    archives: dict[str, str] | None = None,
) -> str:
    """Unpack a package that is not installed; for what is built before it is.

    :param folder: an existing empty folder.
    :param archives: {package: path} of those that lie on the host.
    :returns: the path in it that the package's files lie below.
    :raises Refusal: it cannot be had.
    """
    what = f"unpack {name} {version}"
    target = os.path.join(folder, "tree")
    there = {name: version}
    archive = {key: path for key, path in (archives or {}).items() if key == name}
    archive = (
        archive
        or apt_transaction.archives(COMING, there)
        or _downloaded(what, there, folder, execute)
    )
    if not archive:
        raise Refusal(what, "no archive of it came", "Look at apt's lists, and run again")
    _run(what, ["dpkg-deb", "--extract", archive[name], target], execute)
    return target


def _downloaded(
    what: str, packages: dict[str, str], folder: str, execute: Callable[..., Any]
) -> dict[str, str]:
    """Fetch packages into a folder; return {name: path} of those that came."""
    names = [f"{name}={version}" for name, version in packages.items()]
    _run(what, ["env", f"--chdir={folder}", "apt-get", "--quiet", "download", *names], execute)
    return apt_transaction.archives(folder, packages)


def _run(what: str, argv: list[str], execute: Callable[..., Any]) -> None:
    answer = package_manager.managed(what, argv, package_manager.Apt(), execute)
    if answer.returncode:
        raise Refusal(what, package_manager.reason(answer), "Mend that and run again")


def _put(
    choice: Choice,
    family: package_family.Family,
    execute: Callable[..., Any],
    manager: Any,
    archives: dict[str, str] | None = None,
    fetches_only: bool = False,
) -> None:
    """Run the transaction that brings what was chosen; see :func:`fetch` and :func:`install`."""
    what = _what(choice)
    manager = manager or package_manager.required(what)
    belongs = functools.partial(package_family.belongs, family=family)
    is_apt = isinstance(manager, package_manager.Apt)
    names = [
        (archives or {}).get(name)
        or (f"{name}{'=' if is_apt else '-'}{version}" if version else name)
        for name, version in choice.packages.items()
    ]
    options = (manager.fetching_only,) if fetches_only else ()
    run = functools.partial(
        package_manager.transact, what, manager=manager, execute=execute, may_go=belongs
    )
    if not is_apt:
        # What is superseded goes by --allowerasing, as far as it is in the way.
        run(verb=(*_DNF_OPTIONS, *options, *manager.installing), names=names)
        return
    names += [f"{name}-" for name in choice.superseded]
    driver_archive.make(os.path.dirname(COMING))
    with apt_transaction.under(pins.coming(choice.driver, family), COMING) as own:
        run(verb=(*own, *options, *manager.installing), names=names)


def _what(choice: Choice) -> str:
    return f"install {', '.join(choice.packages)} {choice.driver}".rstrip()


def _is_of(offer: str, driver: str) -> bool:
    return versions.upstream(offer) == driver


def _best(offers: list[str], driver: str) -> str:
    """Return the newest of some versions that is the driver's; or of its branch, or of all.

    The last two are of packages with a version of their own.
    """
    branch = versions.branch(driver)
    same = [offer for offer in offers if _is_of(offer, driver)]
    alike = [offer for offer in offers if versions.branch(versions.upstream(offer)) == branch]
    return max(same or alike or offers, key=deb_version.key)


def _offers_in_words(names: Iterable[str], offers: dict[str, list[str]]) -> str:
    return "; ".join(f"{name} {', '.join(offers.get(name, [])) or 'none'}" for name in names)
