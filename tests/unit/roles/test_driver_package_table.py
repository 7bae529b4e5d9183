"""The table of driver packages that the lab builds: each row has a source and keeps to its form."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project

FILE = project.ROOT / "tests" / "standins" / "packages" / "packages.yml"
TABLE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
KEYS = {"name", "source", "version", "fields", "files", "links", "conffiles", "dkms", "unit"}
KEYS |= {"postinst", "prerm", "triggers"}
# What each family stands in one archive with.
BESIDE = {"debian": [], "debian-tesla-470": ["debian"], "cuda": []}
ROWS = [(family, row) for family in BESIDE for row in TABLE[family]]

each_row = pytest.mark.parametrize(
    ("family", "row"), ROWS, ids=lambda value: value["name"] if isinstance(value, dict) else value
)


@each_row
def test_a_package_says_where_it_is_from_and_has_no_unknown_key(family, row):
    assert row["source"]
    assert set(row) <= KEYS


@each_row
def test_a_package_needs_none_but_those_of_its_archive_and_dkms(family, row):
    known = {"version": "1.2.3-1", "upstream": "1.2.3", "branch": "1"}
    there = {"dkms"}
    for other in [row for name in (family, *BESIDE[family]) for row in TABLE[name]]:
        provided = other.get("fields", {}).get("Provides", "").split(",")
        there.add(other["name"].format(**known))
        there |= {item.split()[0].format(**known) for item in provided if item.strip()}
    needed = [
        row.get("fields", {}).get(field, "").format(**known) for field in ("Pre-Depends", "Depends")
    ]
    for one_of in ",".join(filter(None, needed)).split(","):
        names = {item.split()[0] for item in one_of.split("|") if item.strip()}
        assert names & there or not names, one_of


def test_each_fault_says_where_it_was_seen():
    assert [row["name"] for row in TABLE["faults"] if not row["source"]] == []
