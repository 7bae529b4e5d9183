# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a distribution calls the package with the headers of a kernel."""

from __future__ import annotations

import re

from ..packages import versions

# From here on those of Proxmox are not called pve-headers any more: pve-kernel's changelog, 6.5.
_PROXMOX = "6.5"
# kernel.spec of CentOS Stream 9: variants end their release with '+' and their name. Those of 8
# and before have rt in it, and Oracle's uek: 5.15.0-3.60.5.1.el9uek.x86_64.
_VARIANT = re.compile(r"(.+)\+(rt|64k|debug|rt-debug|64k-debug)")
_RT = re.compile(r"[.-]rt[0-9]+\.")
_UEK = re.compile(r"\.el[0-9]+uek\.")
# ELRepo's builds of Linux: kernel-ml, and kernel-lt of these series, which the first had before.
_ELREPO = ".elrepo."
_LONG_TERM = ("4.19", "5.4", "5.10", "5.15", "6.1", "6.6", "6.12", "6.18")
# Amazon Linux 2023 names all but its first kernel by their series.
_AMAZON, _AMAZONS_FIRST = ".amzn2023.", "6.1"


def package(release: str, manager: str) -> str:
    """Return the name of the package, with the version of that kernel and no other.

    :param release: of the kernel, as ``uname -r`` says it.
    :param manager: the host's package manager, as node_info names it: 'apt' or 'dnf'.
    """
    if manager == "apt":
        if not release.endswith("-pve"):
            return f"linux-headers-{release}"
        return f"{'pve' if versions.is_below(release, _PROXMOX) else 'proxmox'}-headers-{release}"
    variant = _VARIANT.fullmatch(release)
    if variant:
        return f"kernel-{variant.group(2)}-devel-{variant.group(1)}"
    if _UEK.search(release):
        return f"kernel-uek-devel-{release}"
    series = versions.series(release)
    if _ELREPO in release:
        return f"kernel-{'lt' if series in _LONG_TERM else 'ml'}-devel-{release}"
    if _AMAZON in release and series != _AMAZONS_FIRST:
        return f"kernel{series}-devel-{release}"
    return f"kernel-{'rt-' if _RT.search(release) else ''}devel-{release}"


def again(release: str, manager: str) -> str:
    """Return the command that puts the package in place anew; see :func:`package`."""
    words = {"apt": "apt-get install --reinstall", "dnf": "dnf reinstall"}
    return f"{words.get(manager, words['dnf'])} {package(release, manager)}"


def packages(release: str, manager: str) -> list[str]:
    """Return the names of the packages that bring them, the one to be preferred first.

    EPEL's dkms needs some kernel-devel-matched where there is a kernel-core, and of several dnf
    takes the newest, with the next kernel.
    """
    name = package(release, manager)
    if name.startswith("kernel-lt-"):
        return [name, name.replace("lt", "ml", 1)]
    is_plain = name == f"kernel-devel-{release}"
    return [*([f"kernel-devel-matched-{release}"] if is_plain else []), name]
