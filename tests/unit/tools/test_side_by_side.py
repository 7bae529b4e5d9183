"""Tests side by side: files are handed out whole, and none that dies or hangs ends the run."""

from __future__ import annotations

import subprocess
import time
import venv
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lab.paths import LabPaths
from testrun import side_by_side
from testrun.side_by_side import Job, Worker

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def jobs(tmp_path):
    """Make jobs with these names, which may take so long."""

    def make(*names, limit_s=20):
        return [
            Job(name, limit_s, tmp_path / f"{name}.log", tmp_path / f"{name}.xml") for name in names
        ]

    return make


@pytest.fixture
def workers(tmp_path):
    return [Worker(number, tmp_path) for number in (1, 2)]


def run(workers, jobs, script, **options):
    """Run jobs, a shell script with their name as $1; return (done, left, what was said)."""
    said = []

    def argv_of(job):
        return ["sh", "-c", script, "sh", job.file]

    return *side_by_side.run(workers, jobs, argv_of, said.append, **options), "\n".join(said)


def test_every_file_is_run_once_and_one_that_fails_is_shown(workers, jobs):
    done, left, said = run(workers, jobs("a", "b", "c"), "echo at $1; test $1 != b")
    assert sorted(job.file for job in done) == ["a", "b", "c"]
    assert [job.file for job in done if not job.is_good] == ["b"]
    assert left == []
    assert "at b" in said
    assert "at a" not in said


def test_workers_have_a_job_each_at_the_same_time(workers, jobs):
    # Each waits for the other.
    script = "touch $1; until test -e a -a -e b; do sleep 0.05; done"
    done, _left, _said = run(workers, jobs("a", "b"), script)
    assert all(job.is_good for job in done)


def test_what_each_took_of_the_cpu_is_told_apart(workers, jobs):
    script = "test $1 = rests && exec sleep 0.3; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
    done, _left, said = run(workers, jobs("works", "rests"), script)
    took = {job.file: job.cpu_s for job in done}
    assert took["works"] > 0.1 > took["rests"]
    assert f"{took['works']:4.0f} s of CPU  works" in said


def test_one_that_is_killed_has_failed_and_the_next_goes_on(workers, jobs):
    done, _left, said = run(workers[:1], jobs("dies", "lives"), "test $1 = lives || kill -9 $$")
    assert {job.file: job.is_good for job in done} == {"dies": False, "lives": True}
    assert "dies  FAILED" in said


def test_one_that_hangs_is_ended_with_what_it_started_and_its_test_is_named(workers, jobs):
    script = (
        "test $1 = b && exit; echo a::test_first PASSED; echo a::test_second; sleep 4300 & wait"
    )
    done, _left, said = run(workers[:1], jobs("a", "b", limit_s=1), script)
    assert {job.file: job.is_good for job in done} == {"a": False, "b": True}
    assert "took longer than 1 s; it was at a::test_second" in said
    left = subprocess.run(["pgrep", "-fx", "sleep 4300"], capture_output=True, check=False)
    assert left.returncode == 1


@pytest.mark.parametrize(
    ("attributes", "is_good"),
    [("tests='2' skipped='2'", False), ("tests='2' skipped='1'", True), ("tests='0'", True)],
)
def test_one_of_which_all_was_skipped_has_failed(workers, jobs, attributes, is_good):
    (job,) = jobs("a")
    job.report.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
    done, _left, _said = run(workers, [job], "echo it is no Debian")
    assert [one.is_good for one in done] == [is_good]


def test_after_the_time_none_is_begun_and_those_left_are_told(workers, jobs):
    done, left, _said = run(workers[:1], jobs("a", "b"), "sleep 0.5", within_s=0.3)
    assert ([job.file for job in done], [job.file for job in left]) == (["a"], ["b"])


def test_what_would_not_end_in_time_is_left_and_what_would_is_done(workers, jobs):
    long, short = jobs("long", "short")
    long.expected_s, short.expected_s = 60, 1
    done, left, _said = run(workers[:1], [long, short], "true", within_s=10)
    assert ([job.file for job in done], [job.file for job in left]) == (["short"], ["long"])


def test_what_was_not_noted_is_expected_to_take_long():
    assert side_by_side.expected_s("a", {"a": 100}) == 150
    assert side_by_side.expected_s("b", {"a": 100}) == 1800


def test_what_still_runs_is_named_with_test_and_processes(workers, jobs):
    (job,) = jobs("a")
    workers[0].start(job, ["sh", "-c", "echo a::test_first; sleep 60; true"])
    try:
        deadline = time.monotonic() + 10
        while "sleep 60" not in "\n".join(side_by_side.still_running(workers)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert side_by_side.still_running(workers)[0].startswith("worker 1: a::test_first, for ")
    finally:
        workers[0].end("enough was seen")


def test_the_longest_begin_and_what_is_not_known_before_all():
    seconds = {"long": 300, "short": 10}
    assert side_by_side.longest_first(["short", "new", "long"], seconds) == ["new", "long", "short"]


def test_a_file_may_take_a_multiple_of_what_it_took():
    assert side_by_side.limit_s("known", {"known": 100}) == 1000
    assert side_by_side.limit_s("new", {}) == 3600


def test_a_copy_has_what_git_would_keep_and_a_lab_of_its_own(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", source], check=True)
    for name in ("kept", "folder/new", "ignored", "gone"):
        (source / name).write_text(name)
    (source / ".gitignore").write_text("ignored\n.venv\n")
    (source / "link").symlink_to("folder")
    (source / ".venv" / "bin").mkdir(parents=True)
    (source / ".venv" / "bin" / "python").touch()
    git = ["git", "-C", source, "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "add", "kept", "gone"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "Begin"], check=True)
    (source / "gone").unlink()
    target.mkdir()
    (target / "of the last run").touch()
    side_by_side.copy_checkout(source, target)
    assert {path.name for path in target.iterdir()} == {
        "kept", "folder", ".git", ".gitignore", "link", ".venv"
    }  # fmt: skip
    assert (target / "link").readlink() == Path("folder")
    logged = subprocess.run(
        ["git", "log", "--format=%s"], cwd=target, capture_output=True, text=True, check=True
    )
    assert logged.stdout == "Begin\n"
    assert LabPaths.of(source).id != LabPaths.of(target).id
    # As `python -m venv --clear` does.
    venv.EnvBuilder().clear_directory(target / ".venv")
    assert not (target / ".venv" / "bin").exists()
    assert (source / ".venv" / "bin" / "python").exists()


def test_reports_become_one_and_a_missing_one_is_no_error(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(
            f"<testsuites><testsuite><testcase name='{name}'/></testsuite></testsuites>"
        )
    (tmp_path / "cut").write_text("<testsuites>")
    reports = [tmp_path / name for name in ("a", "missing", "cut", "b")]
    side_by_side.merge(reports, tmp_path / "all" / "one.xml")
    cases = ET.parse(tmp_path / "all" / "one.xml").iter("testcase")
    assert [case.get("name") for case in cases] == ["a", "b"]


def test_what_failed_is_told_with_why_and_shortened(tmp_path):
    report = tmp_path / "a.xml"
    report.write_text(
        '<testsuites><testsuite><testcase name="test_good"/>'
        '<testcase name="test_bad"><failure message="assert 1 == 2&#10;because">long</failure>'
        f'</testcase><testcase name="test_ill"><error message="{"x" * 9000}"/></testcase>'
        "</testsuite></testsuites>"
    )
    lines = side_by_side.failures(report)
    assert lines[:3] == ["  test_bad", "      assert 1 == 2", "      because"]
    assert lines[3] == "  test_ill"
    assert len(lines[4]) < 2000
    assert side_by_side.failures(tmp_path / "none.xml") == []


def test_the_files_of_a_choice_are_collected():
    assert side_by_side.collect(["-m", "slow", "tests/lab/test_channel.py"]) == []
    found = side_by_side.collect(["tests/lab", "tests/system/nccl"])
    assert found[-2:] == ["tests/system/nccl/test_nccl.py", "tests/system/nccl/test_refusals.py"]
    assert {"tests/lab/test_channel.py", "tests/lab/test_lab.py"} < set(found)
    assert len(set(found)) == len(found)


def test_what_pytest_cannot_collect_ends_the_run():
    with pytest.raises(SystemExit, match=r"tests/nowhere"):
        side_by_side.collect(["tests/nowhere"])
