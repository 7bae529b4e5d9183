"""The table of what stands for MLNX_OFED for Enterprise Linux keeps to its form."""

from __future__ import annotations

import re

import pytest

from standins import mlnx_ofed, mlnx_ofed_rpms

TABLE = mlnx_ofed_rpms.TABLE
OTHERS = {row["name"] for row in mlnx_ofed.table("doca_el")["packages"]}


@pytest.mark.parametrize(
    "row",
    [
        *TABLE["packages"],
        *TABLE["faults"],
        *TABLE["words"].values(),
        TABLE["added"],
        TABLE["order"],
    ],
    ids=str,
)
def test_a_row_says_where_it_is_from(row):
    assert row["source"]


def test_each_package_of_the_order_has_a_row():
    own = {row["name"] for row in TABLE["packages"]}
    assert set(TABLE["order"]["packages"]) <= own | OTHERS
    assert own <= set(TABLE["order"]["packages"])


def test_what_is_said_is_in_the_table():
    text = (mlnx_ofed.STANDIN / "files" / "installer_rpm.py").read_text()
    assert set(re.findall(r'\bsay\(\s*"(\w+)"', text)) == set(TABLE["words"])


def test_the_installer_is_a_program_that_compiles():
    text = mlnx_ofed.program("installer_rpm.py", words=TABLE["words"])
    compile(text, "installer_rpm.py", "exec")
    assert "PACKAGE = {'words'" in text
