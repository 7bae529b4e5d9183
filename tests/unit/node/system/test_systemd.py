"""What a unit logged, whatever the clock says, and as much of it as anybody reads."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import systemd

# systemd 252: of a cursor and of an entry, as journalctl prints them.
CURSOR = "s=b1;i=3f2a;b=8c9d;m=1b2c3d;t=62e1f0a2b3c4d;x=9f8e7d"
LINE = "Nov 30 10:00:00 node1 python[200]: {}\n"


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """A journalctl that says what a file has; return (that file, the file of what it was asked)."""
    said, asked = tmp_path / "said", tmp_path / "asked"
    said.write_text("")
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\ncat {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return said, asked


def test_the_end_of_the_journal_is_a_place_and_no_time(journal):
    said, asked = journal
    said.write_text(f"started\n-- cursor: {CURSOR}\n")
    after = systemd.journal_end()
    assert after == CURSOR
    said.write_text(LINE.format("one") + LINE.format("two"))
    assert [line[-3:] for line in systemd.journal("web.service", after)] == ["one", "two"]
    last = asked.read_text().splitlines()[-1].split()
    assert {f"--cursor={CURSOR}", "--unit=web.service"} <= set(last)
    assert not [option for option in last if option.startswith("--since")]


@pytest.mark.parametrize("text", ["", "No journal files were found.\n", "-- cursor: x\nlogged\n"])
def test_without_a_cursor_this_boot_is_read(journal, text):
    said, asked = journal
    said.write_text(text)
    assert systemd.journal_end() == ""
    systemd.journal("web.service", "")
    assert "--boot" in asked.read_text().splitlines()[-1].split()


def test_of_a_log_without_end_the_end_is_read_in_whole_lines(journal, monkeypatch):
    said, _asked = journal
    monkeypatch.setattr(systemd, "_LOG_BYTES", 1000)
    monkeypatch.setattr(systemd, "_TAIL", systemd._TAIL.replace(str(8 << 20), "1000"))
    said.write_bytes(b"".join(LINE.format(f"secret {n:04}").encode() for n in range(500)))
    lines = systemd.journal("web.service", "x")
    assert lines[-1].endswith("secret 0499")
    assert len(lines) == 1000 // len(LINE.format("secret 0000"))
    assert all(line.startswith("Nov 30") for line in lines)
    said.write_bytes(b"\xff\xc3" * 5000)
    assert systemd.journal("web.service", "x") == []


@pytest.mark.parametrize("error", [OSError("gone"), subprocess.TimeoutExpired("journalctl", 60)])
def test_a_journal_that_cannot_be_read_has_no_lines_and_no_end(error):
    def run(_argv, **_options):
        raise error

    assert systemd.journal("web.service", "", run) == []
    assert systemd.journal_end(run) == ""
