# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Installed packages of the NVIDIA driver's and the RDMA family, and newer ones on offer.

Nothing is fetched: what is on offer is what the package lists on the host say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Callable

from ..facts_shape import Package
from ..system.root import Root
from . import deb_version, rpm_version

#: MLNX_OFED, DOCA and the distribution's own RDMA stack.
RDMA = re.compile(
    r"(?:kmod-)?(?:mlnx|mlx)[-_].+|mlnxofed-.+|(?:linux-(?:main-)?modules-)?doca-.+|ofed-scripts|mft(?:-.+)?"
    r"|kernel-mft.*|(?:kmod-)?(?:iser|isert|srp|knem|xpmem|virtiofs)(?:-.+)?"
    r"|srp_daemon|ibacm|iwpmd|libxpmem(?:-.+)?|python3-pyverbs"
    r"|rdma-core(?:-.+)?|(?:lib)?ibverbs.*|librdmacm.*|rdmacm-utils|libib(?:umad|mad|netdisc).*"
    r"|infiniband-diags.*|(?:lib)?opensm.*|mstflint|perftest"
)
_FAMILY = re.compile(
    # The driver, its libraries and daemons: not CUDA, not what runs containers.
    r"(?:lib)?nvidia(?!-(?:container|cuda(?!-mps)|docker|nsight|visual|profiler))(?:[-_].+)?"
    r"|(?:kmod|dkms|akmod|firmware)-nvidia(?:-.+)?|(?:xserver-xorg-video|xorg-x11-drv)-nvidia(?:-.+)?"
    r"|linux-(?:modules|objects|signatures)-nvidia-.+"
    r"|lib(?:egl|gl1|gles|glx)-nvidia.*|glx-alternative-nvidia"
    r"|cuda-drivers(?:-.+)?|libcuda1|libcudadebugger1|libnvcuvid1|libnvoptix1|libnvsdm.*|nvlsm"
    rf"|{RDMA.pattern}"
)
_STATUS, _JOURNAL = "/var/lib/dpkg/status", "/var/lib/dpkg/updates"
_RPM_DATABASES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
# The first question after a change makes apt read all its lists.
_PATIENCE_S = 30
#: What asks rpm for the name and the version of a package.
RPM_FORMAT = "%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n"
_VERSION_LINE = re.compile(r" (?:\*\*\*|   ) (\S+) -?[0-9]+\b(.*)")
# What the archive gives to no host any more is no offer; see repositories.stopped.
_IS_STOPPED = " (phased 0%)"
_SOURCE_LINE = re.compile(r" {8,}-?[0-9]+ \S+(?: (\S+))?.*")
# What the suites with fixes alone are called: bookworm-security, noble-security, buster/updates.
_SECURITY_SUITE = re.compile(r"[^/]+(?:-security|/updates)(?:/.*)?")
_DNF = ("dnf", "--quiet", "--cacheonly", "--disableplugin=versionlock")
_UPGRADE = re.compile(r"(\S+)\.(?:x86_64|i686|noarch|aarch64)\s+(\S+)\s+\S+")


def survey(tree: Root) -> list[Package]:
    """Return [{name, version, offered, offered_by_security}], sorted by name.

    ``offered`` is the newest version on offer, whatever pins say of it;
    ``offered_by_security`` whether that one or another newer one comes from an archive for
    security. Nothing is asked where no package of the family is installed.
    """
    found = installed(tree)
    ask = _offered_by_apt if tree.exists(_STATUS) else _offered_by_dnf
    offered = ask(tree, found) if found else {}
    rows: list[Package] = []
    for name, version in sorted(found.items()):
        newest, by_security = offered.get(name, ("", False))
        rows.append(
            {
                "name": name,
                "version": version,
                "offered": newest,
                "offered_by_security": by_security,
            }
        )
    return rows


def manager(tree: Root) -> str:
    """Return the package manager by whose database packages are told: 'apt' or 'dnf'."""
    return "apt" if tree.exists(_STATUS) else "dnf"


def installed(tree: Root, is_asked: Callable[[str], object] = _FAMILY.fullmatch) -> dict[str, str]:
    """Return {name: version} of packages that are installed, those of the family by default.

    One that is :func:`unfinished` is none of them.

    :param is_asked: says of a name whether it is asked about.
    """
    if tree.exists(_STATUS):
        return _of_dpkg(tree, is_asked)
    found = _of_rpm(tree, is_asked)
    return {name: versions[0] for name, versions in found.items() if len(versions) == 1}


def unfinished(tree: Root, is_asked: Callable[[str], object]) -> dict[str, str]:
    """Return {name: version} of packages that were begun to be installed or removed, and not ended.

    Of one that dpkg was at it says so; one that rpm was at is there in two versions.
    """
    if not tree.exists(_STATUS):
        return {name: found[-1] for name, found in sorted(doubled(tree, is_asked).items())}
    states = _states(tree, is_asked)
    # dpkg(1), "Package states".
    return {
        name: version
        for name, (state, version) in sorted(states.items())
        if state not in ("installed", "not-installed", "config-files")
    }


def doubled(tree: Root, is_asked: Callable[[str], object]) -> dict[str, list[str]]:
    """Return {name: [version]} of packages that rpm has in several versions, the oldest first.

    It puts all new ones in place before it removes the first old one (rpm 4.18, lib/transaction.c),
    and who is killed in between leaves both. Kernels are meant to be so.
    """
    found = {} if tree.exists(_STATUS) else _of_rpm(tree, is_asked)
    return {
        name: sorted(versions, key=rpm_version.key)
        for name, versions in found.items()
        if len(versions) > 1
    }


def residual(tree: Root, is_asked: Callable[[str], object]) -> list[str]:
    """Return the names of packages that were removed and left their settings."""
    states = _states(tree, is_asked) if tree.exists(_STATUS) else {}
    return sorted(name for name, (state, _version) in states.items() if state == "config-files")


def owns(tree: Root, path: str) -> bool:
    """Say whether a package has placed a file; one of the same name in another folder counts too.

    /lib is a link to /usr/lib, and packages name their files either way.
    """
    if tree.exists(_STATUS):
        return bool(tree.answer("dpkg-query", "--search", f"*/{os.path.basename(path)}"))
    return bool(tree.answer("rpm", "--query", "--file", path))


def _of_dpkg(tree: Root, is_asked: Callable[[str], object]) -> dict[str, str]:
    states = _states(tree, is_asked)
    return {name: version for name, (state, version) in states.items() if state == "installed"}


def _states(tree: Root, is_asked: Callable[[str], object]) -> dict[str, tuple[str, str]]:
    """Return {name: (state, version)} of what dpkg knows of."""
    # A dpkg that was killed leaves what it had not written into its table (dpkg,
    # lib/dpkg/dbmodify.c): a package each, the last one of several with the last word.
    journal = [name for name in tree.names(_JOURNAL) if name.isdigit()]
    texts = [tree.text(f"{_JOURNAL}/{name}") for name in sorted(journal)]
    found = {}
    for block in "\n\n".join([tree.text(_STATUS), *texts]).split("\n\n"):
        name = re.match(r"\n*Package: (\S+)\n", block)
        if name and is_asked(name.group(1)):
            version = re.search(r"^Version: (\S+)$", block, re.MULTILINE)
            state = re.search(r"^Status: \S+ \S+ (\S+)$", block, re.MULTILINE)
            if version and state:
                found[name.group(1)] = (state.group(1), version.group(1))
    return found


def _of_rpm(tree: Root, is_asked: Callable[[str], object]) -> dict[str, list[str]]:
    """Return {name: [version]} of what rpm knows of."""
    if not any(map(tree.exists, _RPM_DATABASES)):
        return {}
    answer = tree.answer("rpm", "-qa", "--qf", RPM_FORMAT, patience_s=_PATIENCE_S)
    found: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, tab, version = line.partition("\t")
        # One for two architectures has one version.
        if tab and is_asked(name) and version not in found.setdefault(name, []):
            found[name].append(version)
    return found


def _offered_by_apt(tree: Root, installed: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """Return {name: (newest version, by security)} from the tables of `apt-cache policy`.

    Compared as dpkg compares versions, not by the order of the table.
    """
    offered: dict[str, tuple[str, bool]] = {}
    name = version = ""
    answer = tree.answer("apt-cache", "policy", *sorted(installed), patience_s=_PATIENCE_S)
    for line in answer.splitlines():
        of_version, source = _VERSION_LINE.fullmatch(line), _SOURCE_LINE.fullmatch(line)
        if not line.startswith(" "):
            name, version = line.rstrip(":"), ""
        elif of_version:
            version = "" if of_version.group(2) == _IS_STOPPED else of_version.group(1)
        elif source and version and name in installed:
            key = deb_version.key(version)
            if key > deb_version.key(installed[name]):
                newest, by_security = offered.get(name, ("", False))
                if key > deb_version.key(newest):
                    newest = version
                by_security |= bool(_SECURITY_SUITE.fullmatch(source.group(1) or ""))
                offered[name] = (newest, by_security)
    return offered


def _offered_by_dnf(tree: Root, installed: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """Return {name: (newest version, by security)} from what dnf 4 lists as upgrades.

    The lines are those of dnf/cli/output.py, simpleList(), which a long name breaks in two, and
    of dnf/cli/commands/updateinfo.py, display_list(): advisory, kind, package.
    """
    names = sorted(installed)
    answer = tree.answer(*_DNF, "list", "--upgrades", *names, patience_s=_PATIENCE_S)
    upgrades = {name: new for name, new in _UPGRADE.findall(answer) if name in installed}
    if not upgrades:
        return {}
    advisories = tree.answer(
        *_DNF, "updateinfo", "list", "--security", *names, patience_s=_PATIENCE_S
    )
    secured = [fields[-1] for fields in map(str.split, advisories.splitlines()) if fields]
    return {
        # A number follows a package's own name, and a word that of one with a longer name.
        name: (new, any(re.match(rf"{re.escape(name)}-[0-9]", package) for package in secured))
        for name, new in upgrades.items()
    }
