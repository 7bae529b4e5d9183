# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kernels a driver is known to build for, and which not, by the catalog's limits.

Linux numbers its releases; distributions number what they make of one of them, and take in changes
of later ones. So each limit is written in the numbers of whom it was seen with, {line: releases},
and a kernel is held against those of its own line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions

#: Linux itself, be it built by ELRepo, by Fedora, for a cloud, or by hand.
UPSTREAM = "upstream"
# 5.14.0-687.12.1.el9_8.x86_64; not ELRepo's builds of Linux itself, 6.9.1-1.el9.elrepo.x86_64.
_ENTERPRISE = re.compile(r"\.el([0-9]+)(?:_[0-9]+)?(?:\.(?!elrepo)|\+|$)")
# Whose third number is no release of Linux: 6.1.0-40-amd64, 6.8.0-48-generic, and Oracle's
# 5.15.0-3.60.5.1.el9uek.x86_64.
_OTHERS = (
    ("debian", re.compile(r"[0-9]+\.[0-9]+\.0-[0-9]+-(?:\w+-)*(?:amd64|686|686-pae|arm64)")),
    ("uek", re.compile(r".+\.el[0-9]+uek\..+")),
    ("ubuntu", re.compile(r"[0-9]+\.[0-9]+\.0-[0-9]+-[a-z].*")),
)
_REAL_TIME = re.compile(r"[-+._](?:rt[0-9]*|realtime|preempt[-_]rt)(?![a-z0-9])", re.IGNORECASE)


def line_of(release: str) -> str:
    """Return whose numbers a kernel's release has: 'upstream', 'el9', 'debian', 'ubuntu', 'uek'."""
    enterprise = _ENTERPRISE.search(release)
    if enterprise:
        return f"el{enterprise.group(1)}"
    return next((name for name, form in _OTHERS if form.fullmatch(release)), UPSTREAM)


def is_real_time(release: str) -> bool:
    """Say whether a kernel is a real-time one, as far as its release tells.

    Debian's 6.1.0-40-rt-amd64, Ubuntu's 6.8.1-1015-realtime, 5.14.0-570.el9.x86_64+rt, and what
    the patch set itself adds: 5.15.55-rt48.
    """
    return bool(_REAL_TIME.search(release))


def reached(below: Mapping[str, Sequence[str]], release: str) -> str:
    """Return the release from which on no kernel is built for that a kernel reaches, '' for none.

    :param below: {line: releases}: of each series the first that is not, and all later series.
        Where the kernel's line has none, the series of Linux that it began as tells.
    """
    line = line_of(release)
    points = below.get(line, below.get(UPSTREAM, []))
    if line in below or line == UPSTREAM:
        alike = [point for point in points if versions.series(point) == versions.series(release)]
        found = [point for point in alike or points[-1:] if not versions.is_below(release, point)]
    else:
        began = versions.series(release)
        found = [
            point
            for point in points
            if (point == versions.series(point) and not versions.is_below(began, point))
            or (point == points[-1] and versions.is_below(versions.series(point), began))
        ]
    return found[-1] if found else ""


def tested(newest: Mapping[str, str], release: str) -> str:
    """Return the newest kernel that is known to build, of those that tell of a kernel; '' for none.

    What Linux is known to do tells nothing of Enterprise Linux, which takes in most of its changes.

    :param newest: {line: release}.
    """
    line = line_of(release)
    return newest.get(line, "" if line.startswith("el") else newest.get(UPSTREAM, ""))


def is_tested(newest: Mapping[str, str], release: str) -> bool:
    """Say whether a kernel is no newer than one that is known to build; see :func:`tested`."""
    limit = tested(newest, release)
    # Of 5.14.0-503 all builds count, 5.14.0-503.26.1.el9_5 as well, and of 6.1 all 6.1.x.
    is_one = bool(re.match(rf"{re.escape(limit)}(?![0-9])", release))
    return bool(limit) and (is_one or not versions.is_below(limit, release))
