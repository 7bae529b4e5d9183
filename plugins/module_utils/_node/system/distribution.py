# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The distribution of a host, by the names that others have for it."""

from __future__ import annotations

from ..facts_shape import Distribution

_RED_HAT = ("RedHat", "Rocky", "AlmaLinux", "CentOS", "OracleLinux")


def catalog_name(facts: Distribution) -> str:
    """Return the distribution as the catalog names it: 'Debian 12', 'Ubuntu 22.04', 'RedHat 9'.

    :param facts: the general facts.
    """
    name = facts["distribution"]
    # Ubuntu's major version is a year with two releases.
    is_ubuntu = name == "Ubuntu"
    version = facts["distribution_version" if is_ubuntu else "distribution_major_version"]
    return f"{'RedHat' if name in _RED_HAT else name} {version}"


def mellanox_name(facts: Distribution) -> str:
    """Return the distribution as Mellanox writes it: 'rhel7.3', 'ubuntu22.04', 'debian12.5'.

    :param facts: the general facts.
    """
    name = facts["distribution"]
    name = "rhel" if name in _RED_HAT else name.lower()
    return f"{name}{facts['distribution_version']}"
