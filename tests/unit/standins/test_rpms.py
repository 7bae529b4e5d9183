"""The table of stand-in RPMs says where each row is from, and is whole."""

from __future__ import annotations

import re

import pytest
import yaml

from standins import rpms

GROUPS = ("base", "kernel", "cuda")
ROWS = [row for group in GROUPS for row in rpms._TABLE[group]]
KNOWN = {
    **{"version": "580.95.05", "evr": "3:580.95.05", "branch": "580"},
    **{"release": "5.14.0-1.el9", "kernel_version": "5.14.0", "kernel_release": "1.el9"},
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_package_names_its_source_and_has_no_word_that_nothing_reads(row):
    assert row["source"]
    assert set(row) <= {
        *("name", "source", "version", "release", "epoch", "arch", "files", "links", "copies"),
        *("dkms", "unit", "post", "posttrans", "preun", "triggers", *rpms._TAGS),
    }


@pytest.mark.parametrize("row", rpms._TABLE["cuda"], ids=lambda row: row["name"])
def test_what_a_package_of_nvidias_stands_on_is_there(row):
    names = {found["name"] for found in ROWS}
    provided = {
        relation.split()[0] for found in ROWS for relation in found.get("provides", ())
    } | names
    asked = {relation.split()[0] for relation in row.get("requires", ())}
    assert asked <= provided


def test_a_spec_says_what_the_table_says():
    (row,) = (row for row in rpms._TABLE["cuda"] if row["name"] == "kmod-nvidia-open-dkms")
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
    documents = list(yaml.safe_load_all(rpms._modules(["580.95.05", "595.58.03"])))
    streams = {found["data"]["stream"]: found["data"] for found in documents[:-1]}
    assert set(streams) == {
        *("580-dkms", "580-open", "595-dkms", "595-open", "latest-dkms", "open-dkms")
    }
    data = streams["580-open"]
    kmods = [name for name in data["artifacts"]["rpms"] if name.startswith("kmod-")]
    assert kmods == ["kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch"]
    assert "nvidia-settings" in data["profiles"]["default"]["rpms"]
    assert not re.search(r"[&*]id", rpms._modules(["580.95.05"]))
