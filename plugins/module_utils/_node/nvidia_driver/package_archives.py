# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archives of the driver's packages: fetched, unpacked before they are installed, and kept."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable

from ..gpu import driver_archive
from ..packages import package_manager, versions
from ..packages.package_manager import Manager
from ..refusal import Refusal
from ..system import confinement
from ..system.commands import Execute
from . import package_family
from .package_choice import Choice

#: Where what is fetched of the driver lies, until that is installed and kept.
COMING = os.path.join(driver_archive.DIR, "coming")
_SOURCES = re.compile(r"-dkms\b|-kernel-source\b")


def sources(
    choice: Choice, family: package_family.Family, manager: Manager, coming: str = COMING
) -> dict[str, str]:
    """Return {name: version} of the packages that have the modules' sources.

    Either they were chosen, or what was chosen stands on them, as cuda-drivers does, and they were
    fetched along. Ubuntu has the sources in one package and their dkms.conf in another.
    """
    fetched = {name: version for name, (version, _path) in manager.archives(coming).items()}
    return {
        name: version
        for name, version in {**fetched, **choice.packages}.items()
        if package_family.is_bound(name, family) and _SOURCES.search(name)
    }


def keep(
    driver: str,
    there: dict[str, str],
    manager: Manager,
    execute: Execute,
    folder: str = driver_archive.DIR,
) -> None:
    """Keep the archives of the packages that are installed, where all of them can be had.

    Those that were fetched for the installation are taken, and only the others fetched.

    :param driver: the driver's own version.
    :param there: {name: version} that are installed, see package_sets.installed.
    """
    driver_archive.make(folder)
    place = os.path.join(folder, driver)
    driver_archive.make(place)
    for _version, path in manager.archives(COMING).values():
        shutil.move(path, os.path.join(place, os.path.basename(path)))
    shutil.rmtree(COMING, ignore_errors=True)
    found = _of(there, place, manager)
    lacking = {name: version for name, version in there.items() if name not in found}
    if lacking:
        # What the archive has no longer is no reason to fail.
        with contextlib.suppress(Refusal):
            what = f"keep the packages of driver {driver}"
            found.update(_downloaded(what, lacking, place, manager, execute))
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


def kept(
    driver: str, there: dict[str, str], manager: Manager, folder: str = driver_archive.DIR
) -> dict[str, str]:
    """Return {name: path} of the archives that are kept of a driver, {} where it is not."""
    paths = [row["path"] for row in driver_archive.rows(folder=folder) if not row["sha256"]]
    place = os.path.join(folder, driver)
    return _of(there, place, manager) if place in paths else {}


def kept_versions(
    driver: str, manager: Manager, folder: str = driver_archive.DIR
) -> dict[str, str]:
    """Return {name: version} of the packages of a driver whose archives are kept, {} for none."""
    paths = manager.archives(os.path.join(folder, driver))
    return {name: version for name, (version, _path) in paths.items()}


def kept_choice(
    names: Iterable[str], branch: str, manager: Manager, folder: str = driver_archive.DIR
) -> tuple[Choice, dict[str, str]] | None:
    """Return (Choice, {name: path}) of a driver of a branch that is kept whole; None for none.

    :param names: packages that bring the driver, from the catalog.
    """
    for row in driver_archive.rows(folder=folder):
        paths = {} if row["sha256"] else manager.archives(row["path"])
        if versions.branch(row["version"]) == branch and set(names) <= paths.keys():
            packages = {name: version for name, (version, _path) in paths.items()}
            places = {name: path for name, (_version, path) in paths.items()}
            return Choice(row["version"], packages, []), places
    return None


def unpack(
    name: str,
    version: str,
    folder: str,
    manager: Manager,
    execute: Execute,
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
        archive or _of(there, COMING, manager) or _downloaded(what, there, folder, manager, execute)
    )
    if not archive:
        raise Refusal(what, "no archive of it came", "Look at what is on offer, and run again")
    os.makedirs(target, exist_ok=True)
    argv = confinement.confined(manager.unpacking(archive[name], target), [])
    _run(what, argv, manager, execute)
    return target


def _of(packages: dict[str, str], folder: str, manager: Manager) -> dict[str, str]:
    """Return {name: path} of those packages, {name: version}, whose archives are in a folder."""
    found = manager.archives(folder).items()
    return {name: path for name, (version, path) in found if packages.get(name) == version}


def _downloaded(
    what: str, packages: dict[str, str], folder: str, manager: Manager, execute: Execute
) -> dict[str, str]:
    """Fetch packages into a folder; return {name: path} of those that came."""
    names = [manager.exactly(name, version) for name, version in packages.items()]
    _run(what, manager.downloading(folder, names), manager, execute)
    return _of(packages, folder, manager)


def _run(what: str, argv: list[str], manager: Manager, execute: Execute) -> None:
    answer = package_manager.managed(what, argv, manager, execute)
    if answer.returncode:
        reason = package_manager.reason(answer, manager)
        raise Refusal(what, reason, "Mend that and run again")
