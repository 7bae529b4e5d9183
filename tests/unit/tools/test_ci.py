"""CI's run ends by itself and says what was still running."""

from __future__ import annotations

import subprocess
import time
from unittest import mock

import pytest

from testrun import ci


def test_a_command_that_ends_in_time_gives_its_status():
    assert ci.bounded(["sh", "-c", "exit 3"], time.monotonic() + 20) == 3


def test_one_that_hangs_is_named_with_what_it_started_and_ended():
    said = []
    with pytest.raises(ci.TimeOver):
        ci.bounded(
            ["sh", "-c", "sleep 4321 & wait"],
            time.monotonic() + 0.5,
            lambda *lines: said.extend(lines),
        )
    assert said[0] == "Time is over. Still running:"
    assert "sleep 4321" in "\n".join(said)
    left = subprocess.run(["pgrep", "-fx", "sleep 4321"], capture_output=True, check=False)
    assert left.returncode == 1


def test_what_it_started_has_time_to_clean_up_though_it_ends_before(tmp_path):
    cleaned = tmp_path / "cleaned"
    child = f"trap 'sleep 1; touch {cleaned}; exit' TERM; while :; do sleep 0.1; done"
    with pytest.raises(ci.TimeOver):
        ci.bounded(
            ["sh", "-c", 'sh -c "$0" & wait', child], time.monotonic() + 0.5, lambda *_lines: None
        )
    assert cleaned.exists()


def test_one_that_does_not_end_when_it_is_asked_to_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(ci, "_CLEAN_UP_S", 0.5)
    said = []
    with pytest.raises(ci.TimeOver):
        ci.bounded(
            ["sh", "-c", f"echo $$ >{tmp_path}/pid; trap '' TERM; while :; do sleep 0.1; done"],
            time.monotonic() + 0.5,
            lambda *lines: said.extend(lines),
        )
    assert said[-1] == "It did not end within 0.5 s."
    group = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while subprocess.run(["pgrep", "-g", group, "-r", "RS"], check=False).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def run_of_ci(monkeypatch, statuses):
    """Run ci.main with commands that end so; return (its status, the commands)."""
    commands = []

    def bounded(argv, _until, _say):
        commands.append(argv)
        return statuses[len(commands) - 1]

    monkeypatch.setattr(ci, "bounded", bounded)
    monkeypatch.setattr(ci.side_by_side, "collect", lambda _arguments: ["a", "b"])
    monkeypatch.setattr(ci.changes, "Tree", lambda _root: mock.Mock())
    monkeypatch.setattr(ci.changes, "in_turn", lambda *_arguments: (["b"], ["a"]))
    return ci.main(), commands


def test_first_the_quick_tests_and_then_the_slow_ones_in_their_order(monkeypatch):
    status, (first, second) = run_of_ci(monkeypatch, [0, 0])
    assert (status, first) == (0, ["make", "test"])
    assert 3300 < float(second[second.index("--within") + 1]) <= 3600
    assert second[second.index("--paths") :] == ["--paths", "b", "a"]
    assert "--in-order" in second


def test_where_the_quick_tests_fail_nothing_else_is_begun(monkeypatch):
    status, commands = run_of_ci(monkeypatch, [2])
    assert (status, commands) == (2, [["make", "test"]])


def test_a_slow_test_that_fails_fails_the_run(monkeypatch):
    assert run_of_ci(monkeypatch, [0, 1])[0] == 1
