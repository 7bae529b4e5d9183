"""Versions of drivers and kernels, compared."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("550.90.07", "550.107.02"),
        ("535.161.08", "535.261.03"),
        ("470", "535.54.03"),
        ("3.10.0-514.el7.x86_64", "4.15"),
        ("5.15.0-25-generic", "5.16"),
        ("6.1.0-9-amd64", "6.1.0-40-amd64"),
        ("4.3-1.0.1.0", "23.10-1.1.9.0"),
        ("9.2", "10.1"),
    ],
)
def test_the_older_version_is_below_the_newer_one(older, newer):
    assert versions.is_below(older, newer)
    assert not versions.is_below(newer, older)


@pytest.mark.parametrize("text", ["", "unknown", "rubbish\x00", "²"])
def test_a_version_that_cannot_be_read_is_below_nothing(text):
    assert not versions.is_below(text, "1")


def test_a_version_is_not_below_itself():
    assert not versions.is_below("5.16", "5.16")


def test_the_branch_of_a_driver_is_its_first_number():
    assert (versions.branch("535.161.08"), versions.branch("")) == ("535", "")


@pytest.mark.parametrize(
    ("packaged", "upstream"),
    [
        ("535.161.08-1", "535.161.08"),
        ("535.216.03-2~bpo12+1", "535.216.03"),
        ("580.95.05-0ubuntu1", "580.95.05"),
        ("3:550.54.14-1.el9", "550.54.14"),
        ("20220217+3~deb12u1", ""),
        ("", ""),
    ],
)
def test_the_drivers_version_is_told_from_what_a_package_adds(packaged, upstream):
    assert versions.upstream(packaged) == upstream
