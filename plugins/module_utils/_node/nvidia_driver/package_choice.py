# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages in which versions are the driver: one version of all that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..packages import versions
from ..refusal import Refusal
from . import package_family


class Choice(NamedTuple):
    """What is to be installed.

    :ivar driver: the driver's own version.
    :ivar packages: {name: version}.
    :ivar superseded: the names of those that are to go.
    """

    driver: str
    packages: dict[str, str]
    superseded: list[str]


def choose(
    names: list[str],
    offers: dict[str, list[str]],
    branch: str,
    family: package_family.Family,
    version: str = "",
) -> Choice:
    """Return the Choice of the newest version of a branch that all packages are offered in.

    :param names: packages that bring the driver, from the catalog.
    :param offers: what the host's package manager offers of them, the newest first.
    :param branch: '535'.
    :param family: the package_family.Family of the repository.
    :param version: the driver's own version, where it is to be that one and no other.
    :raises Refusal: there is none.
    """
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
    driver = versions.ordered(fitting)[-1]
    return Choice(driver, {name: _best(offers[name], driver) for name in names}, [])


def without(
    offers: dict[str, list[str]], stopped: dict[str, list[str]], driver: str
) -> dict[str, list[str]]:
    """Return offers without the versions that the archive stopped.

    :param stopped: what repositories.stopped says of them.
    :param driver: the version of the driver that is installed, which stays; '' for none.
    """
    return {
        name: [
            offer for offer in found if offer not in stopped.get(name, []) or _is_of(offer, driver)
        ]
        for name, found in offers.items()
    }


def of_other_branches(
    there: dict[str, str], branch: str, family: package_family.Family
) -> list[str]:
    """Return the names of those installed packages that are of another branch, in order.

    Names may carry the branch, and then apt has nothing against two of them side by side.

    :param there: {name: version} that are installed, see package_sets.installed.
    """
    return [
        name
        for name, version in sorted(there.items())
        if package_family.is_bound(name, family)
        and versions.branch(versions.upstream(version)) not in ("", branch)
    ]


def successor(name: str, version: str, branch: str) -> str:
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

    What is of another branch, and has no successor in this one, is to go.

    :param there: {name: version} that are installed, see package_sets.installed.
    :param offers: what is offered of those and of their successors, the newest first.
    :param others: packages that belong to modules of another kind alone, and are to go.
    """
    branch = versions.branch(choice.driver)
    superseded = set(others) & set(there) - set(choice.packages)
    packages = dict(choice.packages)
    for name in sorted(set(there) - superseded - set(packages)):
        if package_family.is_versioned(name, family):
            now = successor(name, there[name], branch) if branch else name
            same = [offer for offer in offers.get(now, []) if _is_of(offer, choice.driver)]
            if same:
                packages.setdefault(now, same[0])
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
    for name in names:
        same = [offer for offer in offers.get(name, []) if _is_of(offer, choice.driver)]
        if same:
            return choice._replace(packages={**choice.packages, name: same[0]})
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

    :param there: {name: version} that are installed.
    """
    return not set(choice.superseded) & set(there) and all(
        there.get(name) == version for name, version in choice.packages.items()
    )


def _is_of(offer: str, driver: str) -> bool:
    return versions.upstream(offer) == driver


def _best(offers: list[str], driver: str) -> str:
    """Return the newest of some versions that is the driver's; or of its branch, or of all.

    The last two are of packages with a version of their own.
    """
    branch = versions.branch(driver)
    same = [offer for offer in offers if _is_of(offer, driver)]
    alike = [offer for offer in offers if versions.branch(versions.upstream(offer)) == branch]
    return (same or alike or offers)[0]


def _offers_in_words(names: Iterable[str], offers: dict[str, list[str]]) -> str:
    return "; ".join(f"{name} {', '.join(offers.get(name, [])) or 'none'}" for name in names)
