"""What `make test` leaves out is guarded by what it runs: the core claims of each component.

The list of slow tests, tests/slow.yml, says of each which quick tests guard its claim; and
tests/claims.yml which quick tests hold a component to its core claims.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file
from testrun import side_by_side

ROOT = Path(__file__).resolve().parents[3]
LISTED = yaml_file.load(ROOT / "tests" / "slow.yml")
CLAIMS = yaml_file.load(ROOT / "tests" / "claims.yml")
CORE = ("fresh", "rest", "upgrade", "failed", "killed", "damaged", "removed")
_TIMEOUT_S = 120
# Collecting all tests takes its time, and once is enough.
_COLLECT = """
import sys
import pytest
class Tells:
    def pytest_collection_finish(self, session):
        for item in session.items:
            print("slow" if item.get_closest_marker("slow") else "quick", item.nodeid)
sys.exit(pytest.main(sys.argv[1:], [Tells()]))
"""


@pytest.fixture(scope="module")
def collected():
    """{"slow" or "quick": tests as FILE::TEST, the parameters left out}."""
    argv = [sys.executable, "-c", _COLLECT, "--collect-only", "--quiet", "tests/unit"]
    told = subprocess.run(
        [*argv, *side_by_side.FOLDERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    ).stdout
    rows = [
        line.split(" ", 1) for line in told.splitlines() if line.startswith(("slow ", "quick "))
    ]
    return {
        speed: {
            test.partition("[")[0].removeprefix("tests/") for found, test in rows if found == speed
        }
        for speed in ("slow", "quick")
    }


def files(tests):
    return {test.partition("::")[0] for test in tests}


@pytest.fixture(scope="module")
def slow(collected):
    return collected["slow"]


@pytest.fixture(scope="module")
def quick(collected):
    return collected["quick"]


def unlisted(listed, slow, quick):
    """Return the slow tests that no row is about: a whole file may be one where none is quick."""
    whole = files(slow) - files(quick)
    return {
        test
        for test in slow
        if test not in listed and test.partition("::")[0] not in whole & set(listed)
    }


def test_every_slow_test_is_listed(slow, quick):
    assert unlisted(LISTED, slow, quick) == set()


def test_every_row_is_about_slow_tests(slow):
    assert set(LISTED) - slow - files(slow) == set()


def test_what_guards_a_claim_is_there_and_quick(quick):
    there = quick | files(quick)
    assert {test: guards for test, guards in LISTED.items() if not set(guards) <= there} == {}
    assert [test for test, guards in LISTED.items() if not guards] == []


def test_a_slow_test_without_a_row_is_found():
    slow, quick = {"a.py::test_a", "a.py::test_b", "b.py::test_c"}, {"a.py::test_d"}
    assert unlisted({"a.py::test_a", "b.py"}, slow, quick) == {"a.py::test_b"}
    # That of a file which has quick tests as well would hide what comes later.
    assert unlisted({"a.py", "b.py"}, slow, quick) == {"a.py::test_a", "a.py::test_b"}


def test_each_component_is_held_to_each_core_claim_by_a_quick_test_on_a_node(quick):
    assert {name: tuple(claims) for name, claims in CLAIMS.items()} == dict.fromkeys(
        registry.COMPONENTS, CORE
    )
    rows = {(name, claim): CLAIMS[name][claim] for name in CLAIMS for claim in CORE}
    assert {test for tests in rows.values() for test in tests} - quick == set()
    on_nodes = {row for row, tests in rows.items() if any(t.startswith("system/") for t in tests)}
    assert set(rows) - on_nodes == set()
