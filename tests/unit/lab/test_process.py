"""Detached processes and their records."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from lab import process

# It says when it is ready to ignore SIGTERM.
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def files(tmp_path):
    """(log, record) of a process that is gone when the test is over."""
    log, record = tmp_path / "log", tmp_path / "record.json"
    yield log, record
    process.stop(record, timeout_s=0)


def wait_for(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def changed(record, **fields):
    record.write_text(json.dumps({**json.loads(record.read_text()), **fields}))


def test_a_started_process_is_alive_in_a_session_of_its_own_and_stops(files):
    pid = process.start(["sleep", "60"], *files)
    assert process.is_alive(files[1])
    assert os.getsid(pid) == pid
    process.stop(files[1], timeout_s=5)
    assert process.start_time(pid) is None
    assert not process.is_alive(files[1])


def test_stdout_and_stderr_are_appended_to_the_log(files):
    log, _record = files
    log.write_text("before\n")
    process.start(["sh", "-c", "echo out; echo err >&2"], *files)
    wait_for(lambda: log.read_text() == "before\nout\nerr\n")


def test_a_program_that_is_not_there_is_an_error_and_leaves_no_record(files):
    with pytest.raises(FileNotFoundError):
        process.start(["no-such-program"], *files)
    assert not files[1].exists()


@pytest.mark.parametrize("other", [{"start": 1}, {"boot": "of another boot"}])
def test_another_process_that_was_given_the_same_number_is_neither_ours_nor_stopped(files, other):
    pid = process.start(["sleep", "60"], *files)
    true = json.loads(files[1].read_text())
    changed(files[1], **other)
    assert not process.is_alive(files[1])
    process.stop(files[1], timeout_s=1)
    assert process.start_time(pid) is not None
    files[1].write_text(json.dumps(true))


def test_a_process_that_ended_before_it_was_recorded_is_not_alive(files):
    pid = process.start(["true"], *files)
    wait_for(lambda: process.start_time(pid) is None)
    changed(files[1], start=None)
    assert not process.is_alive(files[1])


def test_a_zombie_is_not_alive(files):
    pid = process.start(["true"], *files)
    wait_for(lambda: not process.is_alive(files[1]))
    assert os.waitpid(pid, 0)[0] == pid


def test_a_process_that_ignores_the_request_is_killed(files):
    pid = process.start([sys.executable, "-c", STUBBORN], *files)
    wait_for(lambda: "ready" in files[0].read_text())
    process.stop(files[1], timeout_s=0.2)
    assert process.start_time(pid) is None


@pytest.mark.parametrize("text", [None, "", "{}", "{half"])
def test_no_record_or_half_of_one_is_no_process(tmp_path, text):
    record = tmp_path / "record.json"
    if text is not None:
        record.write_text(text)
    assert not process.is_alive(record)
    process.stop(record, timeout_s=1)
    assert not record.exists()


def test_whoever_waits_for_an_end_is_told_whether_it_came(files):
    process.start(["sleep", "0.2"], *files)
    assert not process.ended_within(files[1], 0)
    assert process.ended_within(files[1], 10)
