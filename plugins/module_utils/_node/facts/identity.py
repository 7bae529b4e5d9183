# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which distribution a host runs, and what manages its packages and services.

The names are those of Ansible's own facts, read without its library: that one is more than half of
what a look at a host would otherwise send and import.
"""

from __future__ import annotations

import re

from ..facts_shape import Distribution
from ..system import os_release
from ..system.root import Root

# Ansible's name by os-release's ID (the values in its guide to conditionals).
_NAMES = {
    "almalinux": "AlmaLinux",
    "alpine": "Alpine",
    "amzn": "Amazon",
    "arch": "Archlinux",
    "centos": "CentOS",
    "debian": "Debian",
    "fedora": "Fedora",
    "kali": "Kali",
    "linuxmint": "Linux Mint",
    "ol": "OracleLinux",
    "opensuse-leap": "openSUSE Leap",
    "opensuse-tumbleweed": "openSUSE Tumbleweed",
    "pop": "Pop!_OS",
    "raspbian": "Raspbian",
    "rhel": "RedHat",
    "rocky": "Rocky",
    "sles": "SLES",
    "ubuntu": "Ubuntu",
}
_FAMILIES = {
    "alpine": "Alpine",
    "arch": "Archlinux",
    "centos": "RedHat",
    "debian": "Debian",
    "fedora": "RedHat",
    "rhel": "RedHat",
    "suse": "Suse",
    "ubuntu": "Debian",
}
# Where only another file has the whole version: os-release says "12" of 12.9, "7" of 7.9.
_WHOLE_VERSIONS = {"debian": "/etc/debian_version", "centos": "/etc/centos-release"}
# The first one that is there is the host's own.
_MANAGERS = {
    "/usr/bin/dnf": "dnf",
    "/usr/bin/microdnf": "dnf",
    "/usr/bin/apt-get": "apt",
    "/usr/bin/zypper": "zypper",
    "/usr/bin/pacman": "pacman",
    "/sbin/apk": "apk",
}
# systemd's own sign that it is the manager: sd_booted(3).
_BOOTED = "/run/systemd/system"


def distribution(tree: Root) -> Distribution:
    """Return the general facts that os-release answers; '' for what it does not say."""
    said = os_release.read(tree)
    ids = os_release.lineage(said)
    name = _NAMES.get(ids[0]) or said.get("NAME", "")
    version = _version(tree, ids[0], said.get("VERSION_ID", ""))
    in_brackets = re.search(r"\(([^()]*)\)", said.get("VERSION", ""))
    return {
        "distribution": name,
        "distribution_release": said.get("VERSION_CODENAME", in_brackets[1] if in_brackets else ""),
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
        "os_family": next(filter(None, map(_FAMILIES.get, ids)), name),
    }


def _version(tree: Root, distribution_id: str, said: str) -> str:
    """Return the version with its minor number, where a file has that."""
    text = tree.text(_WHOLE_VERSIONS.get(distribution_id, ""))
    whole = re.search(r"(?<![0-9.])[0-9]+(\.[0-9]+)?", text)
    return whole[0] if whole and said in ("", whole[0].partition(".")[0]) else said


def package_manager(tree: Root, family: str) -> str:
    """Return what manages the host's packages, by its Ansible module; 'unknown' for another."""
    if family == "Debian":
        # Others may be there as programs.
        return "apt"
    if tree.exists("/run/ostree-booted"):
        return "atomic_container"
    path = next(filter(tree.exists, _MANAGERS), "")
    return "dnf5" if tree.resolve(path) == "/usr/bin/dnf5" else _MANAGERS.get(path, "unknown")


def service_manager(tree: Root) -> str:
    """Return what manages the host's services; in a chroot what will do so once it is booted."""
    first = tree.text("/proc/1/comm")
    if first == "systemd" or tree.exists(_BOOTED):
        return "systemd"
    # An init by another's name, and the shell of a container, do not tell.
    if first and first != "init" and not first.endswith("sh"):
        return first
    return "systemd" if tree.target("/sbin/init") == "systemd" else "service"
