# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One conda environment: what is wanted of it, and how what is there differs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from . import lock_file, prefixes
from .wanted import Content, Dist


def dist_label(dist: Dist) -> str:
    """Return how people name a pinned Python distribution: 'name==version'."""
    return f"{dist['name']}=={dist['version']}"


def wanted_labels(environment: Content) -> list[str]:
    """Return the sorted names of everything an environment is to hold."""
    return sorted(
        [lock_file.label(package) for package in environment["lock"]]
        + [dist_label(dist) for dist in environment["dists"]]
    )


def labels_of(prefix: str) -> list[str]:
    """Return the sorted names of what a prefix holds, whatever it was built from."""
    return Contents({"prefix": prefix, "lock": [], "dists": []}).labels()


def difference(before: Iterable[str], after: Iterable[str]) -> dict[str, list[str]]:
    """Return {'added', 'changed', 'removed': names} between two lists of labels."""
    old, new = _by_name(before), _by_name(after)
    return {
        "added": sorted(set(new) - set(old)),
        "changed": sorted(name for name in set(old) & set(new) if old[name] != new[name]),
        "removed": sorted(set(old) - set(new)),
    }


def _by_name(labels: Iterable[str]) -> dict[str, set[str]]:
    """Return {name: labels}; a package and a distribution may share a name."""
    found: dict[str, set[str]] = {}
    for label in labels:
        found.setdefault(label.partition("=")[0], set()).add(label)
    return found


class Contents:
    """What an environment's prefix holds, seen against what is wanted of it.

    :param environment: what is wanted.
    :ivar records: {name: record} of the conda packages there.
    :ivar missing: packages of the lock that are to be linked: absent, another one, or damaged.
    :ivar damaged: names of those that conda believes in place, but whose distribution is not.
    :ivar extra: names of conda packages that the lock does not name.
    :ivar missing_dists: pinned distributions that are not there.
    :ivar extra_dists: [(name, version)] that neither a package nor a pin brought.
    :ivar has_pip: whether there is a pip to remove distributions with.
    """

    def __init__(self, environment: Content) -> None:
        self._environment = environment
        self.records = prefixes.conda_records(environment["prefix"])
        self._infos = prefixes.dist_infos(environment["prefix"])
        self._pins = {dist["name"]: dist for dist in environment["dists"]}
        self._home = _python_home(environment["lock"])
        self._find_packages()
        self._find_dists()

    def _find_packages(self) -> None:
        lock = self._environment["lock"]
        same = [
            package
            for package in lock
            if package["name"] in self.records
            and lock_file.is_same(package, self.records[package["name"]])
        ]
        self.damaged = sorted(
            package["name"] for package in same if self._is_damaged(package["name"])
        )
        intact = {package["name"] for package in same} - set(self.damaged)
        self.missing = [package for package in lock if package["name"] not in intact]
        self.extra = sorted(set(self.records) - {package["name"] for package in lock})

    def _is_damaged(self, name: str) -> bool:
        """Say whether what a conda package brought was replaced or removed, but for our own pins.

        That is what pip by hand does, and another Python: conda moves the
        packages to its folder and calls them the same.
        """
        lost = [
            info
            for info in self.records[name]["dists"]
            if info not in self._infos or not self._home.match(info)
        ]
        dists = [prefixes.parse_dist_info(os.path.basename(info)) for info in lost]
        return any(dist and dist[0] not in self._pins for dist in dists)

    def _find_dists(self) -> None:
        owned = {info for record in self.records.values() for info in record["dists"]}
        here = {_key(*dist) for dist in self._infos.values()}
        self.missing_dists = [
            dist
            for dist in self._environment["dists"]
            if _key(dist["name"], dist["version"]) not in here
        ]
        pinned = {_key(dist["name"], dist["version"]) for dist in self._environment["dists"]}
        self.extra_dists = sorted(
            dist
            for info, dist in self._infos.items()
            if info not in owned and _key(*dist) not in pinned
        )
        python = os.path.join(self._environment["prefix"], "bin", "python")
        self.has_pip = os.path.exists(python) and "pip" in dict(self._infos.values())
        self._loose = [
            dist for info, dist in self._infos.items() if info not in owned or dist[0] in self._pins
        ]

    def is_as_wanted(self) -> bool:
        """Say whether nothing is missing, damaged or too much."""
        return not (self.missing or self.extra or self.missing_dists or self.extra_dists)

    def labels(self) -> list[str]:
        """Return the sorted names of what is there, to compare with :func:`wanted_labels`."""
        packages = [
            lock_file.label(record)
            for name, record in self.records.items()
            if name not in self.damaged
        ]
        return sorted(packages + [f"{name}=={version}" for name, version in self._loose])

    def sentences(self) -> list[str]:
        """Return a sentence for each thing that is to be done to the prefix."""
        prefix = self._environment["prefix"]
        found = []
        for package in self.missing:
            record = self.records.get(package["name"])
            label = lock_file.label(package)
            if record is None:
                found.append(f"install {label} in {prefix}")
            elif lock_file.label(record) == label:
                found.append(f"install {label} in {prefix} again")
            else:
                found.append(f"replace {lock_file.label(record)} by {label} in {prefix}")
        found += [
            f"remove {lock_file.label(self.records[name])} from {prefix}" for name in self.extra
        ]
        found += [f"remove {name}=={version} from {prefix}" for name, version in self.extra_dists]
        found += [f"install {dist_label(dist)} in {prefix}" for dist in self.missing_dists]
        return found


def _python_home(lock: Iterable[lock_file.Package]) -> re.Pattern[str]:
    """Return the pattern of paths in the library of a lock's Python; any, where it has none."""
    version = next((package["version"] for package in lock if package["name"] == "python"), None)
    return re.compile(
        rf"lib/python{re.escape('.'.join(version.split('.')[:2]))}t?/" if version else ""
    )


def _key(name: str, version: str) -> tuple[str, str]:
    return name, prefixes.version_key(version)
