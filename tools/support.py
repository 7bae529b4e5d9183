"""Write the support matrix of a page from what tests execute, and note what was seen passing.

python tools/support.py table FILE     renew the table between its markers
python tools/support.py note XML ...   note the slow tests that passed, strike those that failed
"""

from __future__ import annotations

import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from lab import shapes

ROOT = Path(__file__).resolve().parent.parent
#: What the tests of lab nodes lie below.
TESTS = ROOT / "tests"
SEEN = TESTS / "support.yml"
BEGIN, END = "<!-- From tests, by tools/support.py -->\n", "<!-- End -->\n"
#: The note below the table of what ran on a node that is shaped so.
SHAPED = " ⁵"
_HEAD = """\
---
# Slow tests on shaped nodes that were seen passing. What others execute there,
# the support matrix does not call executed.
# `make support` notes them, and strikes those that failed, from the reports in tests/output.
"""


class Marked:
    """Collects the tests with the marker `executes`; a plugin of pytest.

    :ivar tests: {(capability, system): {test: whether it is slow}}.
    """

    def __init__(self):
        self.tests = {}

    def pytest_collection_finish(self, session):
        for item in session.items:
            for mark in item.iter_markers("executes"):
                slow = item.get_closest_marker("slow") is not None
                self.tests.setdefault(mark.args, {})[named(item.nodeid)] = slow


def named(nodeid):
    """Return what a test is called in tests/support.yml: its file below tests, and its name."""
    return nodeid.removeprefix("tests/")


def marked():
    """Return what tests execute, as Marked has it.

    :raises SystemExit: the tests cannot be collected.
    """
    found = Marked()
    folders = [str(TESTS / name) for name in ("lab", "standins", "system")]
    status = pytest.main(
        ["--collect-only", "-p", "no:cacheprovider", "-p", "no:terminal", *folders],
        plugins=[found],
    )
    if status:
        sys.exit(f"The tests below {', '.join(folders)} cannot be collected: pytest says {status}.")
    return found.tests


def cell(row, system, tests, seen):
    """Return what the matrix says of a capability on a system.

    It is executed where some test says so. Of the tests on a shape, each that is slow has to have
    been seen passing as well.

    :param row: of tools/support.yml.
    :param tests: {test: whether it is slow}.
    :param seen: the tests of tests/support.yml.
    """
    is_shape = system in shapes.SHAPES
    unseen = [test for test, slow in tests.items() if is_shape and slow and test not in seen]
    if unseen or not tests:
        return row.get("otherwise", {}).get(system, "unknown")
    shaped = SHAPED if is_shape else ""
    mark = f" {row['mark']}" if "mark" in row else ""
    return f"executed{mark}{row.get('notes', {}).get(system, '')}{shaped}"


def table(known, tests, seen):
    """Return the lines of the table; neighbours of one distribution that are alike are one column.

    :param known: tools/support.yml.
    :param tests: as Marked has them.
    :raises ValueError: a test names a capability or a system that is not known.
    """
    for capability, system in tests:
        if capability not in known["capabilities"] or system not in known["systems"]:
            raise ValueError(f"executes({capability!r}, {system!r}): tools/support.yml has no such")
    columns = []
    for system, title in known["systems"].items():
        cells = [
            cell(row, system, tests.get((name, system), {}), seen)
            for name, row in known["capabilities"].items()
        ]
        if columns and _family(columns[-1][0]) == _family(title) and columns[-1][1] == cells:
            columns[-1][0] += f", {title.rpartition(' ')[2]}"
        else:
            columns.append([title, cells])
    titles = [row["title"] for row in known["capabilities"].values()]
    head = ["", *(title for title, _cells in columns)]
    rows = [
        [title, *(cells[number] for _title, cells in columns)]
        for number, title in enumerate(titles)
    ]
    rule = f"|{'|'.join(['---'] * len(head))}|"
    return [_line(head), rule, *map(_line, rows)]


def _line(cells):
    return "| " + " | ".join(cells).lstrip() + " |"


def _family(title):
    """Return a column's title without its versions: of "Ubuntu 22.04, 24.04" it is "Ubuntu"."""
    return title.partition(",")[0].rpartition(" ")[0]


def renewed(page, lines):
    """Return a page with its table as it is to be; what lies around it stays."""
    before, _begin, rest = page.partition(BEGIN)
    _table, _end, after = rest.partition(END)
    return "\n".join([before + BEGIN, *lines, "", END]) + after


def noted(seen, report, tests):
    """Return the tests that were seen passing, once a report of JUnit is noted.

    :param seen: those that were before.
    :param report: the root element.
    :param tests: as Marked has them; of these, the slow ones on shapes are noted.
    """
    slow = {
        test
        for (_capability, system), found in tests.items()
        if system in shapes.SHAPES
        for test, slow in found.items()
        if slow
    }
    found = set(seen) & slow
    for case in report.iter("testcase"):
        # "tests.system.x.test_y" and "test_z[el9]": see pytest's junit_family xunit2.
        path = case.get("classname").removeprefix("tests.").replace(".", "/")
        test = f"{path}.py::{case.get('name')}"
        if test in slow and case.find("skipped") is None:
            passed = case.find("failure") is None and case.find("error") is None
            found = found | {test} if passed else found - {test}
    return sorted(found)


def listed(found):
    """Return what tests/support.yml says of the tests that were seen passing."""
    if not found:
        return "seen: []\n"
    return "seen:\n" + textwrap.indent(yaml.safe_dump(found, width=120), "  ")


def _seen():
    return yaml.safe_load(SEEN.read_text(encoding="utf-8"))["seen"] if SEEN.exists() else []


def main(verb, *files):
    tests = marked()
    if verb == "note":
        found = _seen()
        for path in files:
            found = noted(found, ET.parse(path).getroot(), tests)
        SEEN.write_text(_HEAD + listed(found), encoding="utf-8")
    else:
        (page,) = map(Path, files)
        known = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
        text = page.read_text(encoding="utf-8")
        page.write_text(renewed(text, table(known, tests, set(_seen()))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
