"""A folder that something lives in is known, and only that."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import in_use


@pytest.fixture
def folders(tmp_path):
    """Two builds of one name, where one's path begins with the other's."""
    paths = [tmp_path / "web-1", tmp_path / "web-12"]
    for path in paths:
        path.mkdir()
    return [str(path) for path in paths]


@pytest.fixture
def start():
    """Start a program that gives back what it is told, and is ended with the test."""
    started = []

    def start(*argv, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(argv, **pipes, **options)
        started.append(process)
        # The kernel says that it was started before it has mapped it.
        process.stdin.write(b"?")
        process.stdin.flush()
        assert process.stdout.read(1) == b"?"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_working_folder_is_in_use(folders, start):
    process = start("cat", cwd=folders[1])
    used = in_use.by_processes(folders)
    assert list(used) == [folders[1]]
    assert used[folders[1]].startswith(f"process cat (pid {process.pid})")


def test_a_folder_that_is_named_by_a_link_is_in_use(folders, tmp_path, start):
    (tmp_path / "link").symlink_to(tmp_path)
    start("cat", cwd=folders[0])
    named = str(tmp_path / "link" / "web-1")
    assert list(in_use.by_processes([named])) == [named]


def test_the_folder_of_a_running_program_is_in_use(folders, start):
    program = shutil.copy(shutil.which("cat"), folders[0])
    start(program)
    assert list(in_use.by_processes(folders)) == [folders[0]]


def test_a_folder_that_only_an_argument_names_is_not_in_use(folders, start):
    start("sh", "-c", "cat; true", folders[0])
    assert in_use.by_processes(folders) == {}


@pytest.mark.parametrize("name", ["ob_cuda.service", "ob_cuda.service.d/own.conf"])
def test_a_unit_keeps_the_folder_it_names(folders, tmp_path, name):
    unit = tmp_path / "system" / name
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart={folders[1]}/bin/python -m gunicorn\n")
    assert in_use.by_units(folders, str(tmp_path / "system")) == {folders[1]: f"unit {name}"}


def test_no_unit_folder_keeps_nothing(folders, tmp_path):
    assert in_use.by_units(folders, os.path.join(tmp_path, "none")) == {}


def test_users_are_named_by_their_unit_or_else_by_their_program(folders, tmp_path, start):
    start("cat", cwd=folders[1])
    wants = tmp_path / "system" / "multi-user.target.wants"
    own = tmp_path / "system" / "web.service.d"
    for folder in (wants, own):
        folder.mkdir(parents=True)
    (own / "own.conf").write_text(f"[Service]\nWorkingDirectory={folders[1]}\n")
    (tmp_path / "system" / "tool.service").write_text(f"ExecStart={folders[0]}/bin/tool\n")
    (wants / "tool.service").symlink_to("../tool.service")
    found = in_use.users(folders, unit_dir=str(tmp_path / "system"))
    assert found == {folders[0]: ["tool.service"], folders[1]: ["cat", "web.service"]}


def test_a_program_of_a_service_goes_by_the_name_of_the_service(folders, tmp_path):
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    (process / "cwd").symlink_to(folders[0])
    (process / "cgroup").write_text("0::/system.slice/web.service\n")
    (process / "comm").write_text("python\n")
    found = in_use.users(folders, str(tmp_path / "proc"), str(tmp_path / "none"))
    assert found == {folders[0]: ["web.service"], folders[1]: []}


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("ExecStart=/opt/e2/bin/python", True),
        ("ExecStart=-/opt/e2/bin/python", True),
        ('Environment="PATH=/usr/bin:/opt/e2"', True),
        ("ExecStart=+@/opt/e2/bin/python", True),
        ("ExecStart=sh -c 'cd /opt/e2;./run'", True),
        ("BindPaths=/srv:/opt/e2:rbind", True),
        ("ExecStart=/tmp/zz/opt/e2/bin/python", False),
        ("ExecStart=/tmp/zz-/opt/e2/bin/python", False),
        ("ExecStart=/tmp/@/opt/e2/bin/python", False),
        ("ExecStart=/home/x.y./opt/e2/bin/python", False),
        ("WorkingDirectory=/opt/e23", False),
        ("WorkingDirectory=/opt/e2-old", False),
        ("WorkingDirectory=/opt/e2@old", False),
        ("WorkingDirectory=/opt/e2+cuda", False),
    ],
)
def test_a_folder_is_named_by_its_whole_path(tmp_path, text, is_named):
    (tmp_path / "x.service").write_text(text)
    assert bool(in_use.by_units(["/opt/e2"], str(tmp_path))) is is_named


@pytest.mark.parametrize(
    ("path", "lives_there"),
    [
        ("/opt/e2", True),
        ("/opt/e2/lib/libpython3.11.so.1.0", True),
        ("/opt/e2/lib/old.so (deleted)", True),
        ("/opt/e2 (deleted)", True),
        ("/tmp/zz/opt/e2/bin/python", False),
        ("/tmp/zz-/opt/e2/bin/python", False),
        ("/srv/a copy of /opt/e2/bin/python", False),
        ("/opt/e2 copy/bin/python", False),
        ("/opt/e2@old/bin/python", False),
        ("/opt/e2é/bin/python", False),
        ("/opt/e20", False),
        *(
            (f"/tmp/x{end}7f04-7f05 r-xp 00000000 08:01 7 /opt/e2/bin/python", False)
            for end in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
        ),
    ],
)
@pytest.mark.parametrize("place", ["cwd", "maps"])
def test_a_process_lives_in_a_folder_by_its_whole_path(tmp_path, path, lives_there, place):
    process = tmp_path / "7"
    process.mkdir()
    (process / "comm").write_text("python\n")
    if place == "cwd":
        (process / "cwd").symlink_to(path)
    else:
        lines = ["7f00-7f01 rw-p 00000000 00:00 0", f"7f02-7f03 r-xp 00000000 08:01 7      {path}"]
        (process / "maps").write_bytes("\n".join([*lines, ""]).encode())
    assert bool(in_use.by_processes(["/opt/e2"], str(tmp_path))) is lives_there


@given(
    texts=st.fixed_dictionaries(
        {}, optional={name: st.binary(max_size=80) for name in ("maps", "comm", "cgroup", "status")}
    ),
    cwd=st.none() | st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text),
)
def test_whatever_a_process_is_called_and_maps_it_is_read(texts, cwd):
    with tempfile.TemporaryDirectory() as proc:
        os.mkdir(f"{proc}/7")
        for name, data in texts.items():
            with open(f"{proc}/7/{name}", "wb") as file:
                file.write(data)
        if cwd is not None:
            os.symlink(cwd.encode(errors="surrogateescape"), f"{proc}/7/cwd".encode())
        found = in_use.by_processes(["/opt/e2"], proc)
        assert found == {} or b"/opt/e2" in texts.get("maps", b"") or "/opt/e2" in (cwd or "")
        in_use.users(["/opt/e2"], proc, proc)
        in_use.user_by_processes(1000, proc)
