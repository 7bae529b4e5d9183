"""The tables of stand-in RPMs say where each row is from, and are whole."""

from __future__ import annotations

import re

import pytest
import yaml

from lab import rpms as lab_rpms
from lab.shapes import el
from standins import rpms

OF_NVIDIA = rpms._TABLE["cuda"]
OF_DISTRIBUTIONS = [*el._TABLE["base"], *el._TABLE["kernel"]]
WORDS = {
    *("name", "source", "version", "release", "epoch", "arch", "files", "links", "copies"),
    *("post", "posttrans", "preun", *lab_rpms.TAGS),
}
KNOWN = {"version": "580.95.05", "evr": "3:580.95.05", "branch": "580"}


def rows_of(distribution):
    """Return the rows that a distribution has, with those of NVIDIA's repository."""
    shape = el.SHAPES[distribution]
    return [*shape.packages("base"), *shape.packages("kernel"), *OF_NVIDIA]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        *((row, {"of", "versions", "triggers"}) for row in OF_DISTRIBUTIONS),
        *((row, {"dkms", "unit"}) for row in OF_NVIDIA),
    ],
    ids=lambda value: value.get("name") if isinstance(value, dict) else "",
)
def test_a_package_names_its_source_and_has_no_word_that_nothing_reads(row, words):
    assert row["source"]
    assert set(row) <= WORDS | words


@pytest.mark.parametrize("distribution", el.SHAPES)
def test_what_a_package_of_nvidias_stands_on_is_there(distribution):
    there = rows_of(distribution)
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
    names = [row["name"] for row in rows_of(distribution)]
    assert len(names) == len(set(names))
    assert set(el._FACTS["shapes"][distribution]["installed"]) <= set(names)
    assert set(el.SHAPES[distribution].kernel_packages) <= set(names)


@pytest.mark.parametrize("row", OF_DISTRIBUTIONS, ids=lambda row: row["name"])
def test_a_package_is_of_distributions_that_a_node_can_be_shaped_as(row):
    assert {*row.get("of", ()), *row.get("versions", ())} <= set(el.SHAPES)


def spec_of(name, folder, fault=""):
    """Return what the spec of a package of NVIDIA's says for Enterprise Linux 9."""
    (row,) = (row for row in OF_NVIDIA if row["name"] == name)
    ours = {"version": "580.95.05", "release": "1.el9", "epoch": 3}
    made = rpms._row(row, "580.95.05", {name: fault}, {}, folder / "sources")
    return lab_rpms.package({**ours, **made}, KNOWN)


def test_a_spec_says_what_the_table_says(tmp_path):
    text = spec_of("kmod-nvidia-open-dkms", tmp_path)
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
    assert 'PACKAGE_NAME="nvidia-open"' in (tmp_path / "sources" / "dkms.conf").read_text()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("broken-pre", "%pre -n nvidia-persistenced\necho"),
        ("needs-nobody", "Requires: nobody-has-it"),
        ("interrupted", "%post -n nvidia-persistenced\n[ ! -e /run/interrupt ]"),
    ],
)
def test_a_fault_comes_beside_what_the_table_says(fault, words, tmp_path):
    whole, text = (spec_of("nvidia-persistenced", tmp_path, told) for told in ("", fault))
    assert words in text
    assert words not in whole
    assert set(whole.splitlines()) <= set(text.splitlines())


@pytest.mark.parametrize("fault", ["", "broken-module"])
def test_only_modules_that_are_to_be_broken_do_not_compile(fault, tmp_path):
    spec_of("kmod-nvidia-latest-dkms", tmp_path, fault)
    assert ("#error" in (tmp_path / "sources" / "nvidia.c").read_text()) is bool(fault)


def test_a_stream_has_one_kind_of_modules_and_the_desktop_by_default():
    text = rpms._modules(["580.95.05", "595.58.03"], OF_NVIDIA, "el9")
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
