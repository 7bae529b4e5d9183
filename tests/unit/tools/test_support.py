"""The support matrix calls executed what tests executed, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import yaml

import support

KNOWN = {
    "systems": {
        "debian12": "Debian 12",
        "ubuntu22.04": "Ubuntu 22.04",
        "ubuntu24.04": "Ubuntu 24.04",
        "el10": "Enterprise Linux 10",
    },
    "capabilities": {
        "driver": {"title": "driver", "mark": "¹", "otherwise": {"el10": "rendered"}},
        "serving": {"title": "serving", "notes": {"debian12": ", for a while"}},
    },
}
ROW = KNOWN["capabilities"]["driver"]
SLOW = {("driver", "el10"): {"system/test_a.py::test_b[el10]": True}}
PASSED = '<testcase classname="tests.system.test_a" name="test_b[el10]">{}</testcase>'


def report(*outcomes):
    return ET.fromstring(f"<testsuite>{''.join(map(PASSED.format, outcomes))}</testsuite>")


@pytest.mark.parametrize(
    ("system", "tests", "said"),
    [
        ("debian12", {"quick": False}, "executed ¹"),
        ("debian12", {"slow": True}, "executed ¹"),
        ("ubuntu24.04", {"quick": False}, "executed ¹ ⁵"),
        ("ubuntu24.04", {"seen": True, "quick": False}, "executed ¹ ⁵"),
        ("el10", {"seen": True, "slow": True}, "rendered"),
        ("el10", {}, "rendered"),
        ("debian12", {}, "unknown"),
    ],
)
def test_a_cell_is_executed_where_a_test_says_so_and_on_a_shape_where_it_was_seen(
    system, tests, said
):
    assert support.cell(ROW, system, tests, {"seen"}) == said


def test_a_table_has_a_row_for_each_capability_and_one_column_for_neighbours_that_are_alike():
    tests = {("serving", "debian12"): {"quick": False}, **SLOW}
    assert support.table(KNOWN, tests, {"system/test_a.py::test_b[el10]"}) == [
        "| | Debian 12 | Ubuntu 22.04, 24.04 | Enterprise Linux 10 |",
        "|---|---|---|---|",
        "| driver | unknown | unknown | executed ¹ ⁵ |",
        "| serving | executed, for a while | unknown | unknown |",
    ]


@pytest.mark.parametrize("mark", [("drivers", "el10"), ("driver", "el11")])
def test_what_a_test_misspells_is_named(mark):
    with pytest.raises(ValueError, match=r"tools/support\.yml has no such"):
        support.table(KNOWN, {mark: {"quick": False}}, set())


@pytest.mark.parametrize(
    ("outcomes", "before", "after"),
    [
        ([""], [], ["system/test_a.py::test_b[el10]"]),
        (["<failure/>"], ["system/test_a.py::test_b[el10]"], []),
        (["<error/>"], ["system/test_a.py::test_b[el10]"], []),
        (["<skipped/>"], [], []),
        (["<skipped/>"], ["system/test_a.py::test_b[el10]"], ["system/test_a.py::test_b[el10]"]),
        ([], ["system/test_a.py::test_b[el10]"], ["system/test_a.py::test_b[el10]"]),
        # What is no test any more, or not one of those.
        ([""], ["system/gone.py::test_c"], ["system/test_a.py::test_b[el10]"]),
    ],
)
def test_what_passed_is_noted_and_what_failed_is_struck(outcomes, before, after):
    assert support.noted(before, report(*outcomes), SLOW) == after


def test_neither_a_quick_test_nor_one_on_the_labs_own_system_has_to_be_noted():
    quick = {("driver", "el10"): {"system/test_a.py::test_b[el10]": False}}
    own = {("driver", "debian12"): {"system/test_a.py::test_b[el10]": True}}
    for tests in (quick, own):
        assert support.noted([], report(""), tests) == []


@pytest.mark.parametrize("found", [[], ["a.py::b[el9]"], ["a.py::b", "c.py::d[x: y-# z]"]])
def test_what_is_noted_is_read_as_it_was(found):
    text = support.listed(found)
    assert yaml.safe_load(text) == {"seen": found}
    assert "\n-" not in text


def test_a_page_is_renewed_between_the_markers_alone():
    page = f"before\n{support.BEGIN}old\n{support.END}after\n"
    text = support.renewed(page, ["| a |"])
    assert text == f"before\n{support.BEGIN}\n| a |\n\n{support.END}after\n"
    assert support.renewed(text, ["| a |"]) == text


def test_a_slow_test_that_fails_in_one_report_of_two_is_not_noted():
    assert support.noted([], report("", "<failure/>"), SLOW) == []
