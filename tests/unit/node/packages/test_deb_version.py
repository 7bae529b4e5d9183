"""Versions in dpkg's order."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import deb_version

ASCENDING = [
    "1.0~rc1-1",
    "1.0~rc1-1+b1",
    "1.0",
    "1.0-1~deb12u1",
    "1.0-1",
    "1.0-1.1",
    "1.0-10",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.2-1",
    "1.10-1",
    "535.161.08-1",
    "535.261.03-1",
    "1:0.1",
]


def test_versions_are_ordered_as_deb_version_says():
    backwards = ASCENDING[::-1]
    assert sorted(backwards, key=deb_version.key) == ASCENDING


@pytest.mark.parametrize(
    ("one", "other"), [("0", "0-0"), ("1", "1-0"), ("1.a", "1.a0"), ("1.0-", "1.00-0")]
)
def test_a_missing_number_is_zero(one, other):
    assert deb_version.key(one) == deb_version.key(other)


@pytest.mark.parametrize("other", ["0-0~", "0~", "0~-0"])
def test_nothing_is_newer_than_a_tilde_after_zero(other):
    assert deb_version.key("0") > deb_version.key(other)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg")
@settings(max_examples=60)
@given(*[st.from_regex(r"([0-9]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-c.+~]{1,4})?", fullmatch=True)] * 2)
def test_two_versions_compare_as_dpkg_compares_them(one, other):
    older = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode
    assert (deb_version.key(one) < deb_version.key(other)) == (older == 0)


@given(st.lists(st.text()))
def test_any_texts_can_be_put_in_order(texts):
    sorted(texts, key=deb_version.key)
    sorted(texts, key=deb_version.kernel_key)


def test_the_newest_kernel_is_the_one_that_grub_puts_first():
    ascending = [
        "5.14.0-427.13.1.el9_4.x86_64",
        "5.14.0-503.11.1.el9_5.x86_64",
        "6.1.0-9-amd64",
        "6.1.0-40-amd64",
        "6.12.0-rc7",
        "6.12.0",
    ]
    backwards = ascending[::-1]
    assert sorted(backwards, key=deb_version.kernel_key) == ascending


def test_a_number_of_any_length_can_be_compared():
    assert deb_version.key("9" * 5000) > deb_version.key("8" * 5000)
