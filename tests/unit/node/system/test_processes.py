"""Who is whose child, and since when: of real processes."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import clients
from ansible_collections.gpunode.stack.plugins.module_utils._node.records import manifest
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    in_use,
    listening,
    processes,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

# Above every process id that a kernel gives.
NOBODY = 2**22 + 1


@pytest.fixture
def family():
    """A real process and the ids of its two children; a third one is dead and not waited for."""
    code = """
import os, sys, time
pids = [os.fork() or time.sleep(60) for child in range(2)]
dead = os.fork() or os._exit(0)
print(*pids, dead, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    *children, dead = map(int, process.stdout.readline().split())
    deadline = time.monotonic() + 5
    while " Z " not in Path(f"/proc/{dead}/stat").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process.pid, set(children)
    for pid in [*children, process.pid]:
        os.kill(pid, 9)
    process.communicate()


def test_the_living_children_of_a_process_are_found(family):
    main, children = family
    assert processes.children(str(main)) == children
    assert processes.children("0") == processes.children(NOBODY) == set()


def test_the_oldest_of_some_processes_counts_and_gone_ones_do_not(family):
    main, children = family
    start = processes.oldest_start([main, *children, NOBODY])
    assert start == pytest.approx(processes.oldest_start([main]), abs=0.05)
    assert processes.oldest_start([NOBODY]) is None
    assert processes.oldest_start([os.getpid()]) < start


def test_what_runs_since_before_a_file_was_written_is_told_from_what_came_after(family, tmp_path):
    main, _children = family
    path, start = tmp_path / "file", processes.oldest_start([main])
    assert not processes.started_before([main], path)
    path.touch()
    time.sleep(0.1)
    os.utime(path, (start + 0.05, start + 0.05))
    assert processes.started_before([main], path)
    assert not processes.started_before([NOBODY], path)
    os.utime(path, (start - 1, start - 1))
    assert not processes.started_before([main], path)
    # The clock was set back since: no restart would ever be enough.
    os.utime(path, (start + 3600, start + 3600))
    assert not processes.started_before([main], path)


def test_a_unit_that_runs_since_before_a_file_was_written_has_drifted(family, tmp_path):
    main, _children = family
    path = str(tmp_path / "file")
    Path(path).touch()
    entry = manifest.fresh("web.service", path)

    def drift(pid):
        answer = subprocess.CompletedProcess([], 0, f"MainPID={pid}\n", "")
        rows = manifest.drift([entry], lambda argv, **_options: answer)
        return [row["says"] for row in rows]

    os.utime(path, (1, 1))
    assert drift(main) == []
    time.sleep(0.1)
    Path(path).touch()
    assert drift(main) == [f"unit web.service runs since before {path} was written"]
    assert drift(0) == []


@pytest.mark.parametrize(
    "name", ["\rUid:\t0\t0\t0", "\nUid:\t0\t0", "\x0bUid: 0 0 0", "a) R 1 1 1"]
)
def test_no_process_says_by_its_name_whose_it_is(name):
    """Its name is its own, and the kernel tells it in front of all else."""
    code = f"""
import ctypes, os, time
ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)
os.setuid(65534) if os.getuid() == 0 else None
print("ready", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        mine = pwd.getpwuid(65534 if os.getuid() == 0 else os.getuid()).pw_name
        assert processes.user_of(process.pid) == mine
        assert process.pid in processes.children(os.getpid())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "name", ["a\n1 host", "a\r1 host", "a\x1b[2J", "a\x851 host", "a\u20281 host"]
)
def test_no_process_begins_a_line_of_ours_by_its_name(name):
    assert processes.named(f"{name}\n") == f"a?{name[2:]}"


def test_wherever_a_process_is_named_its_name_is_one_line(tmp_path):
    proc = tmp_path / "proc"
    process = proc / "7"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("/dev/nvidia0")
    (process / "fd" / "4").symlink_to("socket:[42]")
    (process / "cwd").symlink_to("/opt/e2")
    (process / "comm").write_text("a\n1 host\n")
    (process / "cgroup").write_text("0::/\n")
    (proc / "net").mkdir()
    row = "   0: 0100007F:2328 00000000:0000 0A 0:0 00:0 0 0 0 42"
    (proc / "net" / "tcp").write_text(f"sl\n{row}\n")
    used = in_use.by_processes(["/opt/e2"], str(proc))
    assert used == {"/opt/e2": "process a?1 host (pid 7)"}
    (heard,) = [row for row in listening.survey(str(proc)) if row["port"] == 9000]
    assert heard["process"] == "a?1 host"
    (client,) = clients.who_opened(Root(str(tmp_path)), lambda _path: True)
    assert client["process"] == "a?1 host"


# Linux, fs/proc/array.c: proc_task_name escapes these in status, and nothing in stat.
_ESCAPED = {b"\\": b"\\\\", b"\n": b"\\n"}


@given(st.binary(max_size=15).filter(lambda name: b"\0" not in name))
def test_whatever_a_process_calls_itself_it_is_known_and_shown_on_one_line(name):
    escaped = b"".join(_ESCAPED.get(bytes([byte]), bytes([byte])) for byte in name)
    with tempfile.TemporaryDirectory() as proc:
        process = Path(proc, "7")
        process.mkdir()
        (process / "stat").write_bytes(b"7 (" + name + b") S 42 7 7" + b" 0" * 48 + b"\n")
        (process / "status").write_bytes(b"Name:\t" + escaped + b"\nUid:" + b"\t65534" * 4 + b"\n")
        (process / "comm").write_bytes(name + b"\n")
        assert processes.children(42, proc) == {7}
        assert processes.user_of(7, proc) == pwd.getpwuid(65534).pw_name
        assert in_use.user_by_processes(65534, proc)
        assert not in_use.user_by_processes(0, proc)
        with processes.opened(str(process / "comm")) as text:
            assert processes.named(text.read()).isprintable()
