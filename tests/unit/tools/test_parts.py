"""The parts of the tests are timed, and the slowest tests told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MAKEFILE = """unit:
\t@echo of unit; mkdir -p tests/output; cp report.xml tests/output/unit.xml
lint:
\t@echo of lint; test "$(EXTENT)" = full
lab-test:
\t@echo of lab
kernel-test:
\t@echo of kernel
"""
REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_short" time="0.4"/>
<testcase classname="tests.a" name="test_long" time="61.2"/>
</testsuite></testsuites>
"""


def parts(folder, *arguments):
    """Run the tool in a folder with a Makefile of its own."""
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "report.xml").write_text(REPORT)
    # The make that runs these tests hands on what it was told.
    own = {name: value for name, value in os.environ.items() if name != "EXTENT"}
    return subprocess.run(
        [sys.executable, "-m", "testrun.parts", *arguments],
        cwd=folder,
        env={**own, "PYTHONPATH": f"{ROOT}/tools", "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_parts_run_and_each_is_told_with_its_time_and_the_slowest_tests(tmp_path):
    done = parts(tmp_path, "EXTENT=full", "unit", "lint", "lab-test")
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.partition("The slowest tests:")
    assert "of unit\nunit passed" in told[0]
    assert "of lab\nlab-test passed" in told[0]
    rows = [row.split() for row in told[2].splitlines() if row]
    assert rows[:2] == [["61", "s", "tests.a::test_long"], ["0", "s", "tests.a::test_short"]]
    assert [row[2:] for row in rows[3:]] == [["unit"], ["lint"], ["lab-test"], ["in", "all"]]


def test_where_one_fails_no_further_one_is_begun_and_the_run_has_failed(tmp_path):
    done = parts(tmp_path, "unit", "lint", "lab-test")
    assert done.returncode == 1
    assert "lint, FAILED" in done.stdout
    assert "not run  lab-test" in done.stdout
    assert "of lab" not in done.stdout


def test_what_takes_the_whole_machine_comes_last_and_one_after_the_other(tmp_path):
    done = parts(tmp_path, "EXTENT=full", "lab-test", "kernel-test", "unit", "lint")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("of ")]
    assert said[2:] == ["of lab", "of kernel"]
    assert set(said[:2]) == {"of unit", "of lint"}
