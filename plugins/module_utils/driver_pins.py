# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps the driver's packages at the version that was installed.

apt asks its preferences whoever runs it: an update by hand, by a timer, or as a dependency of
something else. unattended-upgrades goes by apt's candidates as well and never to a newer version
(mvo5/unattended-upgrades@221b1a68, unattended-upgrade, adjust_candidate), so that it needs no
list of its own.
"""

from __future__ import annotations

import re

from ansible_collections.gpunode.stack.plugins.module_utils import placed

PREFERENCES = "/etc/apt/preferences.d/gpunode-nvidia"
VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"
PATHS = (PREFERENCES, VERSIONLOCK)
#: What dnf needs to hold to VERSIONLOCK.
DNF_PLUGIN = "python3-dnf-plugin-versionlock"
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
# apt_preferences(5): from 1000 on a version would even replace a newer one that is installed,
# which is meant while a version is put in place, and not later.
_STAYS, _COMES, _NEVER = 990, 1001, -1
_BEGIN, _END = "# gpunode: NVIDIA driver\n", "# gpunode: end\n"


def wanted_files(manager, installed, driver, family):
    """Return {path: Placed} of the files that hold packages where they are.

    :param manager: 'apt' or 'dnf', as node_facts names it.
    :param installed: {name: version} of the packages that belong to the driver.
    :param driver: the driver's own version: '535.161.08'.
    :param family: the driver_family.Family of all that belongs to it.
    """
    if manager == "apt":
        return {PREFERENCES: placed.of(preferences(installed, driver, family))}
    before = placed.read(VERSIONLOCK) or ""
    return {VERSIONLOCK: placed.of(versionlock(before, installed))}


def unwanted_files(manager):
    """Return {path: Placed} of a host whose packages are free."""
    if manager == "apt":
        return {PREFERENCES: placed.of(None)}
    before = placed.read(VERSIONLOCK)
    return {VERSIONLOCK: placed.of(versionlock(before, {}))} if before else {}


def preferences(installed, driver, family):
    """Return the text of PREFERENCES.

    Of several records that fit a version the first decides. What is installed stays as it is; what
    is not may come in the driver's version alone, from wherever it is.
    """
    by_version = {}
    for name, version in sorted(installed.items()):
        by_version.setdefault(version, []).append(name)
    held = [_record(names, version, _STAYS) for version, names in sorted(by_version.items())]
    return _MARK + "\n".join(
        [
            *held,
            _record(sorted(installed), "*", _NEVER),
            _record(family.versioned, f"{driver}-*", _STAYS),
            _record(family.versioned, "*", _NEVER),
        ]
    )


def coming(driver, family, before):
    """Return the text of preferences under which the driver's packages come in one version.

    A newer one that is there goes back to it.

    :param before: the text of /etc/apt/preferences, which it stands for.
    """
    records = [
        _record(family.versioned, f"{driver}-*", _COMES),
        _record(family.versioned, "*", _NEVER),
    ]
    return "\n".join([*records, before])


def versionlock(before, installed):
    """Return the text of VERSIONLOCK with our lines in place of older ones of ours.

    A line is epoch and all, dnf-plugins-core, plugins/versionlock.py.

    :param before: its text as it is.
    """
    kept = re.sub(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", "", before, flags=re.DOTALL)
    lines = [
        f"{name}-{version if ':' in version else f'0:{version}'}.*\n"
        for name, version in sorted(installed.items())
    ]
    return kept + (_BEGIN + "".join(lines) + _END if lines else "")


def _record(names, version, priority):
    return f"Package: {' '.join(names)}\nPin: version {version}\nPin-Priority: {priority}\n"
