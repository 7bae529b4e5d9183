"""Whether a host has booted: what it answers, and what is told where it does not."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import readiness
from lab.errors import LabError


@dataclass
class Host:
    """A host that gives these answers, the last one ever after.

    :ivar answers: what systemctl says, or the LabError that stands in between.
    """

    console: Path
    answers: list
    is_on: bool = True
    name: str = "kernel1"
    address: str = "10.213.7.231"
    asked: list = field(default_factory=list)

    def is_running(self):
        return self.is_on

    def ssh(self, command, _timeout_s=0):
        self.asked.append(command)
        if "--failed" in command:
            return subprocess.CompletedProcess(command, 0, "broken.service loaded failed\n", "")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, LabError):
            raise answer
        return subprocess.CompletedProcess(command, 0, f"{answer}\n", "")


@pytest.fixture
def console(tmp_path):
    return tmp_path / "console.log"


def wait(host, timeout_s=5):
    readiness.wait(host, timeout_s, host.console.with_name("proven"), 0.01)


def test_it_is_asked_until_it_has_booted_whatever_stands_in_between(console):
    host = Host(console, [LabError("no route"), "starting", "running"])
    wait(host)
    assert len(host.asked) == 3


def test_one_that_never_does_is_named_with_its_last_answer_and_its_console(console):
    console.write_text("Kernel panic - not syncing\n")
    with pytest.raises(LabError, match=r"kernel1 \(10\.213\.7\.231\)") as refused:
        wait(Host(console, ["starting"]), timeout_s=0.05)
    assert "but: starting" in str(refused.value)
    assert "Kernel panic - not syncing" in str(refused.value)


def test_one_that_went_off_is_not_waited_for(console):
    with pytest.raises(LabError, match="went off while it booted"):
        wait(Host(console, [LabError("no route")], is_on=False), timeout_s=60)


def test_a_failed_unit_is_named_where_the_host_is_new_and_later_no_obstacle(console):
    with pytest.raises(LabError, match=r"broken\.service"):
        wait(Host(console, ["degraded"]))
    wait(Host(console, ["running"]))
    wait(Host(console, ["degraded"]))


def test_of_a_console_the_last_lines_are_quoted_without_what_moves_a_cursor(console):
    # As a firmware and GRUB write.
    console.write_bytes(
        b"".join(b"line %d\r\n\r\n" % number for number in range(60))
        + b"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[0m\x1b[37m\x1b[40m"
        + b"BdsDxe: loading Boot0001\r\n\x1bc\xff\x00"
    )
    lines = readiness.console_end(console).splitlines()
    assert lines[0].endswith("console.log:")
    assert lines[-1] == "BdsDxe: loading Boot0001"
    assert lines[-2] == "line 59"
    assert len(lines) == 21


def test_a_host_that_wrote_nothing_has_nothing_quoted(console):
    assert readiness.console_end(console).splitlines() == [f"The end of {console}:"]
