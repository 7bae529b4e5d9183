"""The table of what stands for DOCA-OFED for Enterprise Linux keeps to its form."""

from __future__ import annotations

import pytest

from lab import rpms
from standins import doca_rpms, mlnx_ofed

TABLE = mlnx_ofed.table("doca_el")
PACKAGES = [*TABLE["packages"], TABLE["updater"]]


@pytest.mark.parametrize(
    "row", [*PACKAGES, *TABLE["profiles"], *TABLE["faults"], *TABLE["versions"]], ids=str
)
def test_a_row_says_where_it_is_from(row):
    assert row["source"]


@pytest.mark.parametrize("row", PACKAGES, ids=lambda row: row["name"])
def test_a_package_has_no_word_that_nothing_reads(row):
    words = {"name", "source", "version", "release", "files", "tree", "post", "preun", *rpms.TAGS}
    assert set(row) <= words


def test_what_a_profile_and_a_package_stand_on_is_there():
    there = {row["name"] for row in (*PACKAGES, *TABLE["profiles"])}
    asked = {
        relation.split()[0]
        for row in (*PACKAGES, *TABLE["profiles"])
        for relation in row.get("requires", ())
    }
    assert asked - {"dkms"} <= there


@pytest.mark.parametrize("release", ["3.2.1", "3.2.2", "3.4.1"])
def test_a_release_has_the_numbers_that_its_packages_are_made_of(release):
    known = doca_rpms.versions(release) | {"dist": "el9"}
    assert known["build"].isdigit()
    for row in PACKAGES:
        assert "{" not in row["version"].format(**known) + row["release"].format(**known)


def test_builds_of_one_series_have_one_version_in_dkms_and_others_of_their_packages():
    one, other = doca_rpms.versions("3.2.1"), doca_rpms.versions("3.2.2")
    assert one["series"] == other["series"]
    assert one["patch"] != other["patch"]
