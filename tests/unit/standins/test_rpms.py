"""The table of stand-in RPMs says where each row is from, and is whole."""

from __future__ import annotations

import re

import pytest
import yaml

from lab.shapes import el
from standins import rpms

GROUPS = ("base", "kernel", "cuda")
ROWS = [row for group in GROUPS for row in rpms._TABLE[group]]
KNOWN = {
    **{"version": "580.95.05", "evr": "3:580.95.05", "branch": "580"},
    **{"release": "5.14.0-1.el9", "kernel_version": "5.14.0", "kernel_release": "1.el9"},
}


def rows_of(distribution, *groups):
    """Return the rows that a distribution has of some groups."""
    repositories = rpms.Repositories(None, None, distribution)
    return [row for group in groups for row in repositories._rows(group)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_package_names_its_source_and_has_no_word_that_nothing_reads(row):
    assert row["source"]
    assert set(row) <= {
        *("name", "source", "of", "versions", "version", "release", "epoch", "arch"),
        *("files", "links", "copies"),
        *("dkms", "unit", "post", "posttrans", "preun", "triggers", *rpms._TAGS),
    }


@pytest.mark.parametrize("distribution", el.SHAPES)
def test_what_a_package_of_nvidias_stands_on_is_there(distribution):
    there = rows_of(distribution, *GROUPS)
    provided = {relation.split()[0] for row in there for relation in row.get("provides", ())}
    provided |= {row["name"] for row in there}
    asked = {
        relation.split()[0]
        for row in there
        for relation in row.get("requires", ())
        if not relation.startswith("(")
    }
    assert asked <= provided


@pytest.mark.parametrize("distribution", el.SHAPES)
def test_each_distribution_has_a_package_once_and_what_its_nodes_are_delivered_with(distribution):
    names = [row["name"] for row in rows_of(distribution, *GROUPS)]
    assert len(names) == len(set(names))
    assert set(el._FACTS["shapes"][distribution]["installed"]) <= set(names)
    assert set(el.SHAPES[distribution].kernel_packages) <= set(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_package_is_of_distributions_that_a_node_can_be_shaped_as(row):
    assert {*row.get("of", ()), *row.get("versions", ())} <= set(el.SHAPES)


def test_a_spec_says_what_the_table_says():
    (row,) = (row for row in rows_of("el9", "cuda") if row["name"] == "kmod-nvidia-open-dkms")
    text = rpms._package({"version": "580.95.05", "release": "1.el9", "epoch": 3, **row}, KNOWN, "")
    for words in (
        "%package -n kmod-nvidia-open-dkms",
        "Epoch: 3",
        "BuildArch: noarch",
        "Requires: nvidia-kmod-common = 3:580.95.05",
        "Conflicts: kmod-nvidia-latest-dkms",
        "%files -n kmod-nvidia-open-dkms\n/usr/src/nvidia-open-580.95.05",
        "%post -n kmod-nvidia-open-dkms\ndkms add -m nvidia-open -v 580.95.05",
    ):
        assert words in text


def test_a_stream_has_one_kind_of_modules_and_the_desktop_by_default():
    text = rpms._modules(["580.95.05", "595.58.03"], rows_of("el9", "cuda"), "el9")
    documents = list(yaml.safe_load_all(text))
    streams = {found["data"]["stream"]: found["data"] for found in documents[:-1]}
    assert set(streams) == {
        *("580-dkms", "580-open", "595-dkms", "595-open", "latest-dkms", "open-dkms")
    }
    data = streams["580-open"]
    kmods = [name for name in data["artifacts"]["rpms"] if name.startswith("kmod-")]
    assert kmods == ["kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch"]
    assert "nvidia-settings" in data["profiles"]["default"]["rpms"]
    assert not re.search(r"[&*]id", text)
