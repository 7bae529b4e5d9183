# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host remembers of its RDMA stack: what was installed, and what that came from.

A bundle, or packages, may be nowhere any more when they are needed: to go back to them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import Any

from ..packages.package_manager import Manager
from ..rdma import symbols
from ..system import disk, files, own_paths
from ..system.root import Root

DIR = os.path.join(own_paths.STATE_DIR, "mlnx_ofed")
#: Where apt puts what it fetches, until that is installed and kept.
COMING = f"{DIR}/coming"
_PACKAGES = f"{DIR}/packages"
_BUNDLE = ".tgz"
_NOTE = f"{DIR}/installed.json"
#: It is there from before the first package gives way until all is in place.
AT_WORK = f"{DIR}/at-work"


def packages(tree: Root) -> dict[str, str]:
    """Return {name: version} of the packages that were installed, {} where none is known of."""
    return _noted(tree)["packages"]


def had_symbols(tree: Root) -> bool:
    """Say whether the symbols of the RDMA core were there, with which others are built."""
    return _noted(tree)["symbols"]


def is_at_work(tree: Root) -> bool:
    """Say whether an exchange was begun that did not come to its end."""
    return tree.exists(AT_WORK)


def begin(tree: Root) -> None:
    """Note that an exchange begins."""
    _make(tree)
    with open(tree.path(AT_WORK), "a", encoding="ascii"):
        pass


def end(tree: Root, installed: dict[str, str]) -> None:
    """Note what an exchange brought, and that it is at its end.

    Whether the symbols of the RDMA core are there is noted as well.

    :param installed: {name: version} of packages.
    """
    _make(tree)
    noted = {"packages": installed, "symbols": bool(symbols.folders_of_any_kernel(tree))}
    text = json.dumps(noted, indent=2, sort_keys=True)
    files.write_text(tree.path(_NOTE), f"{text}\n", owner=None, group=None, mode=0o600)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(tree.path(AT_WORK))


def kept(tree: Root, version: str) -> str:
    """Return the path of the bundle of a version that is kept here, '' where none is."""
    path = _bundle(version)
    return tree.path(path) if tree.exists(path) else ""


def kept_version(tree: Root) -> str:
    """Return the version whose bundle is kept here, '' for none."""
    names = [name for name in tree.names(DIR) if name.endswith(_BUNDLE)]
    return names[0][: -len(_BUNDLE)] if names else ""


def keep(tree: Root, archive: str, version: str) -> None:
    """Keep the bundle of the version that is installed, and no other one.

    :param archive: its path; it stays.
    """
    _make(tree)
    copy = tree.path(_bundle(version))
    if copy == archive:
        return
    with (
        disk.watched(f"keep the bundle of MLNX_OFED {version}", copy),
        files.opened(archive) as source,
        files.replacing(copy, owner=None, group=None, mode=0o600) as handle,
    ):
        shutil.copyfileobj(source, handle)
    forget(tree, but=_bundle(version))


def kept_packages(tree: Root, packages: dict[str, str], manager: Manager) -> dict[str, str]:
    """Return {name: path} of those packages, {name: version}, whose archives are kept here."""
    return _archives(tree, _PACKAGES, packages, manager)


def keep_packages(tree: Root, packages: dict[str, str], manager: Manager) -> None:
    """Keep the archives of the packages that are installed, as far as they came, and no bundle.

    :param packages: {name: version}.
    :param manager: the host's.
    """
    place = tree.path(_PACKAGES)
    os.makedirs(place, mode=0o700, exist_ok=True)
    # Of a package there is one archive at a time, by which its manager knows it.
    kept_now = kept_packages(tree, packages, manager).values()
    for name in tree.names(_PACKAGES):
        if os.path.join(place, name) not in kept_now:
            os.unlink(os.path.join(place, name))
    for path in _archives(tree, COMING, packages, manager).values():
        shutil.move(path, os.path.join(place, os.path.basename(path)))
    forget(tree, but=_PACKAGES)


def discard_coming(tree: Root) -> None:
    """Remove the packages that were fetched and are not kept."""
    # What cannot go now says why when packages come there again.
    shutil.rmtree(tree.path(COMING), ignore_errors=True)


def forget(tree: Root, but: str = "") -> None:
    """Remove all that is kept, but for what lies at one path."""
    for path in (f"{DIR}/{name}" for name in tree.names(DIR)):
        if path != but and path.endswith(_BUNDLE):
            os.unlink(tree.path(path))
        elif path != but and path == _PACKAGES:
            shutil.rmtree(tree.path(path))


def _archives(
    tree: Root, folder: str, packages: dict[str, str], manager: Manager
) -> dict[str, str]:
    found = manager.archives(tree.path(folder)).items()
    return {name: path for name, (version, path) in found if packages.get(name) == version}


def _noted(tree: Root) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        noted = files.parsed(tree.text(_NOTE))
        if isinstance(noted, dict) and isinstance(noted.get("packages"), dict):
            return {"packages": noted["packages"], "symbols": bool(noted.get("symbols"))}
    return {"packages": {}, "symbols": False}


def _bundle(version: str) -> str:
    return f"{DIR}/{version}{_BUNDLE}"


def _make(tree: Root) -> None:
    os.makedirs(tree.path(DIR), mode=0o700, exist_ok=True)
