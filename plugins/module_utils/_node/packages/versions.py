# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the planner asks of the versions of drivers, kernels, CUDA and OFED."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from . import deb_version

# The vendor's own version, without what a distribution puts around it: '3:550.54.14-1.el9'.
_PACKAGED = re.compile(r"(?:[0-9]+:)?([0-9]+(?:\.[0-9]+)+)(?:[-+~^].*)?")
_key = functools.lru_cache(maxsize=4096)(deb_version.kernel_key)


def is_below(version: str, limit: str) -> bool:
    """Say whether a version is older than another; what begins with no digit is none, and is not.

    '5.15.0-25-generic' is below '5.16', and '5.16.0-1-amd64' is not.
    """
    return version[:1].isdecimal() and _key(version) < _key(limit)


def ordered(versions: Iterable[str]) -> list[str]:
    """Return each of some versions once, the oldest first."""
    return sorted(set(versions), key=_key)


def branch(version: str) -> str:
    """Return the branch of a driver's version: '535' of '535.161.08', '' of ''."""
    return version.partition(".")[0]


def ofed_series(version: str) -> str:
    """Return the series of an OFED release: '24.10' of '24.10-1.1.4.0', and of itself."""
    return version.partition("-")[0]


def series(version: str) -> str:
    """Return the first two numbers of a version: '12.4' of '12.4.1'."""
    return ".".join(version.split(".")[:2])


def upstream(version: str) -> str:
    """Return the driver's version in that of a package: '535.161.08' of '535.161.08-1', or ''."""
    match = _PACKAGED.fullmatch(version)
    return match.group(1) if match else ""
