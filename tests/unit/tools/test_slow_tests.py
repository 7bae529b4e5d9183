"""What `make test` leaves out is guarded by what it runs: the core claims of each component.

The list of slow tests, tests/slow.yml, says of each which quick tests guard its claim; and
tests/claims.yml which quick tests hold a component to its core claims. tests/shapes.yml says what
is held on nodes of each shape.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file
from lab import shapes
from testrun import side_by_side

ROOT = Path(__file__).resolve().parents[3]
LISTED = yaml_file.load(ROOT / "tests" / "slow.yml")
CLAIMS = yaml_file.load(ROOT / "tests" / "claims.yml")
SHAPES = yaml_file.load(ROOT / "tests" / "shapes.yml")
CAPABILITIES = yaml_file.load(ROOT / "tools" / "support.yml")["capabilities"]
CORE = ("fresh", "rest", "upgrade", "failed", "killed", "damaged", "removed")
_TIMEOUT_S = 120
# Collecting all tests takes its time, and once is enough.
_COLLECT = """
import json
import sys
import pytest
class Tells:
    def pytest_collection_finish(self, session):
        for item in session.items:
            executes = [mark.args for mark in item.iter_markers("executes")]
            params = item.callspec.params.values() if hasattr(item, "callspec") else ()
            print("collected", json.dumps({
                "name": item.nodeid.partition("[")[0].removeprefix("tests/"),
                "speed": "slow" if item.get_closest_marker("slow") else "quick",
                "executes": executes,
                "said": [said for said in params if isinstance(said, str)],
            }))
sys.exit(pytest.main(sys.argv[1:], [Tells()]))
"""


@pytest.fixture(scope="module")
def collected():
    """What _COLLECT tells of each test; the name is FILE::TEST, without parameters."""
    argv = [sys.executable, "-c", _COLLECT, "--collect-only", "--quiet", "tests/unit"]
    told = subprocess.run(
        [*argv, *side_by_side.FOLDERS, "tests/kernel"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    ).stdout
    lines = [line.partition("collected ") for line in told.splitlines()]
    return [json.loads(row) for before, found, row in lines if found and not before]


def files(tests):
    return {test.partition("::")[0] for test in tests}


@pytest.fixture(scope="module")
def slow(collected):
    return {row["name"] for row in collected if row["speed"] == "slow"}


@pytest.fixture(scope="module")
def quick(collected):
    return {row["name"] for row in collected if row["speed"] == "quick"}


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


def faults_of_shapes(listed, collected):
    """Return what is wrong with a table as tests/shapes.yml is one, in sentences.

    :param collected: as the fixture has it.
    """
    reached = {}
    for row in collected:
        said = {*row["said"], *(system for _capability, system in row["executes"])}
        reached.setdefault(row["name"], set()).update(said & set(shapes.SHAPES))
    for name, row in listed.items():
        for claim, tests in row["claims"].items():
            gone = set(tests) - set(reached)
            if gone:
                yield f"{name}, {claim}: there is no {', '.join(sorted(gone))}"
            held = set().union(*(reached.get(test, ()) for test in tests))
            for shape in sorted(held & set(row["without"])):
                yield f"{name}, {claim}: it is held on {shape}, which `without` names"
            for shape in sorted(set(shapes.SHAPES) - set(row["without"]) - held):
                yield f"{name}, {claim}: no test holds it on {shape}"
        if set(row["without"]) - set(shapes.SHAPES):
            yield f"{name}: `without` names what is no shape"
        if not row["claims"] and set(row["without"]) != set(shapes.SHAPES):
            yield f"{name}: nothing is claimed, and `without` does not name all shapes"


def test_each_claim_is_held_on_each_shape_or_it_is_said_why_not(collected):
    executed = {
        capability
        for row in collected
        for capability, system in row["executes"]
        if system in shapes.SHAPES
    }
    # The facts come with each run.
    assert executed - {"facts"} <= set(SHAPES) <= set(CAPABILITIES)
    assert list(faults_of_shapes(SHAPES, collected)) == []


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({}, None),
        ({"without": {}}, "c, fresh: no test holds it on el8"),
        ({"without": {"el8": "", "el9": ""}}, "c, fresh: it is held on el9, which `without` names"),
        ({"claims": {"fresh": ["a.py::test_gone"]}}, "c, fresh: there is no a.py::test_gone"),
        ({"claims": {}}, "c: nothing is claimed, and `without` does not name all shapes"),
    ],
)
def test_a_hole_in_what_is_held_on_shapes_is_found(monkeypatch, row, fault):
    monkeypatch.setattr(shapes, "SHAPES", dict.fromkeys(["el8", "el9", "el10"]))
    collected = [
        {"name": "a.py::test_a", "executes": [], "said": ["el9", "any"]},
        {"name": "a.py::test_b", "executes": [["c", "el10"]], "said": []},
    ]
    claims = {"fresh": ["a.py::test_a", "a.py::test_b"]}
    found = list(
        faults_of_shapes({"c": {"without": {"el8": ""}, "claims": claims, **row}}, collected)
    )
    assert (found == []) if fault is None else (fault in found)
