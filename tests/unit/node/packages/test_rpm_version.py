"""Versions are ordered as rpm orders them."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    deb_version,
    rpm_version,
)

# rpm 4.18, tests/rpmvercmp.at: each is older than the next one of its row.
ORDERED = [
    ["1.0", "2.0"],
    ["2.0", "2.0.1", "2.0.1a"],
    ["5.5p1", "5.5p2", "5.5p10"],
    ["xyz10", "10xyz"],
    ["xyz.4", "8"],
    ["5.5p2", "5.6p1"],
    ["6.0", "6.0.rc1"],
    ["1.0~rc1~git123", "1.0~rc1", "1.0~rc2", "1.0"],
    ["1.0", "1.0^", "1.0^git1", "1.0^git2", "1.01"],
    ["1.0^git1", "1.0^git1.1", "1.0.1"],
    ["1.0^20160101", "1.0.1"],
    ["1.0~rc1", "1.0~rc1^git1", "1.0"],
    ["1.0^git1~pre", "1.0^git1"],
    ["580.95.05-1.el9", "580.105.08-1.el9", "3:470.256.02-1.el9"],
    ["580.95.05-1.el9", "580.95.05-10.el9"],
]


@pytest.mark.parametrize("row", ORDERED, ids=" < ".join)
def test_versions_are_ordered_as_rpms_own_tests_have_them(row):
    for older, newer in itertools.combinations(row, 2):
        assert rpm_version.key(older) < rpm_version.key(newer), (older, newer)


@pytest.mark.parametrize(
    ("one", "other"), [("2.0", "2_0"), ("1.0", "1..0"), ("1.01", "1.1"), ("0:1-1", "1-1")]
)
def test_what_merely_separates_does_not_count(one, other):
    assert rpm_version.key(one) == rpm_version.key(other)


def test_dpkg_has_another_order():
    assert rpm_version.key("1.0^git1") < rpm_version.key("1.0.1")
    assert deb_version.key("1.0^git1") > deb_version.key("1.0.1")
