"""Commands that are run: whatever they print and however long they take, there is an end."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import commands
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

CAPTURED = {"capture_output": True, "text": True}


def test_a_command_ends_as_subprocess_has_it():
    argv = ["sh", "-c", "printf 'a\\r\\nb\\rc'; printf no >&2; exit 3"]
    done, theirs = commands.run(argv, **CAPTURED), subprocess.run(argv, **CAPTURED, check=False)
    assert (done.args, done.returncode, done.stdout, done.stderr) == (
        theirs.args,
        theirs.returncode,
        theirs.stdout,
        theirs.stderr,
    )
    assert commands.run(argv, capture_output=True).stdout == b"a\r\nb\rc"
    assert commands.run(["cat"], stdin=subprocess.DEVNULL, **CAPTURED).stdout == ""
    with pytest.raises(FileNotFoundError):
        commands.run(["/no/such/program"], **CAPTURED)


def test_what_is_no_text_keeps_nobody_from_the_rest():
    done = commands.run(["printf", "\\377ok"], **CAPTURED)
    assert done.stdout == "\ufffdok"


@pytest.mark.parametrize("letter", "\n\r\t\x1b\x7f\x85\u2028\u202e\ud800")
def test_what_does_not_print_is_shown_as_a_question_mark(letter):
    assert commands.one_line(f"a{letter}é 日") == "a?é 日"


@pytest.mark.parametrize("where", ["", " >&2"])
def test_a_command_that_prints_without_end_is_ended_and_named(monkeypatch, where):
    monkeypatch.setattr(commands, "_LARGEST", 3 << 20)
    with pytest.raises(Refusal, match="sh: it printed more than 3 MiB"):
        commands.run(["sh", "-c", f"exec yes{where}"], **CAPTURED)


def test_of_a_host_such_an_answer_is_none(monkeypatch):
    monkeypatch.setattr(commands, "_LARGEST", 1 << 20)
    assert Root().answer("yes") == ""


@pytest.mark.parametrize("options", [{}, CAPTURED])
def test_a_command_that_hangs_is_ended(options, monkeypatch):
    monkeypatch.setattr(commands, "PATIENCE_S", 0.3)
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        commands.run(["sleep", "30"], **options)
    assert time.monotonic() - began < 10
    assert caught.value.timeout == pytest.approx(0.3, abs=0.01)


def test_a_command_that_leaves_its_output_to_others_is_waited_for_no_longer():
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        commands.run(["sh", "-c", "sleep 30 & exit 0"], timeout=0.5, **CAPTURED)
    assert time.monotonic() - began < 10


def test_much_on_both_ways_is_no_deadlock():
    code = "import sys\nfor n in range(2000): print('x' * 999); print('y' * 999, file=sys.stderr)"
    done = commands.run([sys.executable, "-c", code], timeout=60, **CAPTURED)
    assert len(done.stdout) == len(done.stderr) == 2_000_000
