# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archives of the driver's packages: fetched, unpacked before they are installed, and kept."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from collections.abc import Iterable

from ..gpu import driver_archive
from ..packages import apt_transaction, package_manager, versions
from ..refusal import Refusal
from ..system.commands import Execute
from . import package_family
from .package_choice import Choice

#: Where apt puts what it fetches of the driver, until that is installed and kept.
COMING = os.path.join(driver_archive.DIR, "coming")
_SOURCES = re.compile(r"-dkms\b|-kernel-source\b")


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


def keep(
    driver: str,
    there: dict[str, str],
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


def kept_versions(driver: str, folder: str = driver_archive.DIR) -> dict[str, str]:
    """Return {name: version} of the packages of a driver whose archives are kept, {} for none."""
    paths = _kept_archives(os.path.join(folder, driver))
    return {name: version for name, (version, _path) in paths.items()}


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


def unpack(
    name: str,
    version: str,
    folder: str,
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
        archive
        or apt_transaction.archives(COMING, there)
        or _downloaded(what, there, folder, execute)
    )
    if not archive:
        raise Refusal(what, "no archive of it came", "Look at apt's lists, and run again")
    _run(what, ["dpkg-deb", "--extract", archive[name], target], execute)
    return target


def _kept_archives(folder: str) -> dict[str, tuple[str, str]]:
    """Return {name: (version, path)} of the archives in a folder, as apt names them."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "*_*_*.deb"))):
        name, version, _architecture = os.path.basename(path).split("_", 2)
        found[name] = (version.replace("%3a", ":"), path)
    return found


def _downloaded(
    what: str, packages: dict[str, str], folder: str, execute: Execute
) -> dict[str, str]:
    """Fetch packages into a folder; return {name: path} of those that came."""
    names = [f"{name}={version}" for name, version in packages.items()]
    _run(what, ["env", f"--chdir={folder}", "apt-get", "--quiet", "download", *names], execute)
    return apt_transaction.archives(folder, packages)


def _run(what: str, argv: list[str], execute: Execute) -> None:
    answer = package_manager.managed(what, argv, package_manager.Apt(), execute)
    if answer.returncode:
        raise Refusal(what, package_manager.reason(answer), "Mend that and run again")
