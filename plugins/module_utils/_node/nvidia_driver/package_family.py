# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages belong to the driver, whatever repository they are from."""

from __future__ import annotations

import collections
import fnmatch

# Patterns of the names: of packages with the driver's version; with a version of their own; and of
# those that have one of their own in some repository, and work with drivers of other versions.
Family = collections.namedtuple("Family", "versioned companions apart")


def of(repositories, name):
    """Return the Family, as seen from the repository that the driver is taken from.

    What has the driver's version in another repository counts as well, so that nothing of it
    comes in; but for what has a version of its own in this one.

    :param repositories: {name: row} of the catalog.
    """
    companions = repositories[name]["companions"]
    versioned = {
        pattern
        for row in repositories.values()
        for pattern in row["family"]
        if not _matches(pattern, companions)
    }
    apart = {pattern for row in repositories.values() for pattern in row["companions"]}
    return Family(sorted(versioned), list(companions), sorted(apart))


def belongs(name, family):
    """Say whether a package belongs to the driver."""
    return _matches(name, family.versioned) or _matches(name, family.companions)


def is_versioned(name, family):
    """Say whether a package that belongs to the driver has its version."""
    return not _matches(name, family.companions)


def is_bound(name, family):
    """Say whether a package of one driver has no place beside another one."""
    return is_versioned(name, family) and not _matches(name, family.apart)


def _matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
