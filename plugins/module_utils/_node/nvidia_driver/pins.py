# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps the driver's packages at the version that was installed.

apt asks its preferences whoever runs it: an update by hand, by a timer, or as a dependency of
something else. unattended-upgrades goes by apt's candidates as well and never to a newer version
(mvo5/unattended-upgrades@221b1a68, unattended-upgrade, adjust_candidate), so that it needs no
list of its own.
"""

from __future__ import annotations

from ..packages import pins
from ..system import text_files
from . import package_family

PREFERENCES = "/etc/apt/preferences.d/gpunode-nvidia"
PATHS = (PREFERENCES, pins.VERSIONLOCK)
_COMPONENT = "NVIDIA driver"


def wanted_files(
    manager: str, installed: dict[str, str], driver: str, family: package_family.Family
) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of the files that hold packages where they are.

    :param manager: 'apt' or 'dnf', as node_info names it.
    :param installed: {name: version} of the packages that belong to the driver. Those with modules
        for one kernel are free: they need the driver in the version that is held here.
    :param driver: the driver's own version: '535.161.08'.
    :param family: the package_family.Family of all that belongs to it.
    """
    installed = held(installed, family)
    if manager == "apt":
        return {PREFERENCES: text_files.of(preferences(installed, driver, family))}
    return pins.lock(_COMPONENT, installed)


def held(installed: dict[str, str], family: package_family.Family) -> dict[str, str]:
    """Return {name: version} of those installed packages that are to stay at their versions."""
    return {
        name: version
        for name, version in installed.items()
        if not package_family.brings_modules(name, family)
    }


def unwanted_files(manager: str) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of a host whose packages are free."""
    return {PREFERENCES: text_files.of(None)} if manager == "apt" else pins.unlock(_COMPONENT)


def preferences(installed: dict[str, str], driver: str, family: package_family.Family) -> str:
    """Return the text of PREFERENCES.

    Of several records that fit a version the first decides. What is installed stays as it is; what
    is not may come in the driver's version alone, from wherever it is.
    """
    return pins.preferences(
        [
            *pins.held(installed),
            pins.record(sorted(installed), "*", pins.NEVER),
            pins.record(family.versioned, f"{driver}-*", pins.STAYS),
            pins.record(family.versioned, "*", pins.NEVER),
        ]
    )


def coming(driver: str, family: package_family.Family) -> list[str]:
    """Return the records under which the driver's packages come in one version.

    A newer one that is there goes back to it.
    """
    return [
        pins.record(family.versioned, f"{driver}-*", pins.COMES),
        pins.record(family.versioned, "*", pins.NEVER),
    ]
