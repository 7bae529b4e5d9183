# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds packages at their versions: apt's preferences, and the list of dnf's versionlock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..system import text_files

VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"
#: What dnf needs to hold to VERSIONLOCK.
DNF_PLUGIN = "python3-dnf-plugin-versionlock"
# apt_preferences(5): from 1000 on a version would even replace a newer one that is installed,
# which is meant while a version is put in place, and not later.
STAYS, COMES, NEVER = 990, 1001, -1
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
_END = "# gpunode: end\n"


def preferences(records: Iterable[str]) -> str:
    """Return the text of a file of preferences; of several records that fit the first decides.

    :param records: what :func:`record` and :func:`held` return.
    """
    return _MARK + "\n".join(records)


def record(names: Iterable[str], version: str, priority: int) -> str:
    """Return the record that gives versions of packages a priority; apt_preferences(5)."""
    return f"Package: {' '.join(names)}\nPin: version {version}\nPin-Priority: {priority}\n"


def held(packages: Mapping[str, str], priority: int = STAYS) -> list[str]:
    """Return the records by which packages have their versions: those that stay, or that come.

    :param packages: {name: version}.
    """
    by_version: dict[str, list[str]] = {}
    for name, version in sorted(packages.items()):
        by_version.setdefault(version, []).append(name)
    return [record(names, version, priority) for version, names in sorted(by_version.items())]


def lock(component: str, installed: Mapping[str, str]) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of VERSIONLOCK with a component's packages at their versions.

    :param component: whose part of the file it is, in words.
    :param installed: {name: version}; with none, its part goes.
    """
    before = text_files.read(VERSIONLOCK) or ""
    return {VERSIONLOCK: text_files.of(locked(component, before, installed))}


def unlock(component: str) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of VERSIONLOCK without a component's part; {} without a file."""
    return lock(component, {}) if text_files.read(VERSIONLOCK) else {}


def locked(component: str, before: str, installed: Mapping[str, str]) -> str:
    """Return the text of VERSIONLOCK with our lines in place of older ones of the component.

    A line is epoch and all, dnf-plugins-core, plugins/versionlock.py.

    :param before: its text as it is.
    """
    begin = f"# gpunode: {component}\n"
    kept = re.sub(f"{re.escape(begin)}.*?{re.escape(_END)}", "", before, flags=re.DOTALL)
    lines = [
        f"{name}-{version if ':' in version else f'0:{version}'}.*\n"
        for name, version in sorted(installed.items())
    ]
    return kept + (begin + "".join(lines) + _END if lines else "")
