"""The parts of the lab's conda channel that need no package index and no conda."""

from __future__ import annotations

import contextlib
import http.server
import multiprocessing
import os
import signal
import sys
import sysconfig
import threading
import time
import zipfile
from pathlib import Path

import pytest

from lab import process
from lab.channel import explicit, local, once, public, server, toolbox
from lab.channel.local import interpreter, package, vendored
from lab.errors import LabError

RECORDS = [
    {"url": "http://lab/noarch/pip-1.conda", "md5": "ab" * 16, "sha256": "cd" * 32},
    {"url": "http://lab/linux-64/python-3.conda", "md5": "12" * 16, "sha256": "34" * 32},
]
# Of 127.0.0.0/8, so that no lab is disturbed: the port is the same for all.
ADDRESS = f"127.77.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"


def test_a_lock_lists_each_package_by_url_and_md5():
    assert explicit.text(RECORDS, "md5", "here").splitlines() == [
        "# platform: linux-64",
        "# made from: here",
        "@EXPLICIT",
        f"http://lab/noarch/pip-1.conda#{'ab' * 16}",
        f"http://lab/linux-64/python-3.conda#{'12' * 16}",
    ]


def test_a_lock_names_another_digest_than_md5():
    last = explicit.text(RECORDS, "sha256", "here").splitlines()[-1]
    assert last == f"http://lab/linux-64/python-3.conda#sha256:{'34' * 32}"


def test_a_lock_says_what_it_was_made_from(tmp_path):
    path = tmp_path / "lock"
    path.write_text(explicit.text(RECORDS, "md5", "channel spec"), encoding="utf-8")
    assert explicit.origin_of(path) == "channel spec"


@pytest.mark.parametrize("content", [None, "@EXPLICIT\n"])
def test_a_missing_or_foreign_lock_was_made_from_nothing(tmp_path, content):
    path = tmp_path / "lock"
    if content:
        path.write_text(content, encoding="utf-8")
    assert explicit.origin_of(path) is None


def _count(folder):
    time.sleep(0.2)  # long enough for another process to come by
    with open(folder.parent / "count", "a", encoding="utf-8") as handle:
        handle.write("x")
    (folder / "content").touch()


def test_a_folder_is_made_once(tmp_path):
    for _round in range(2):
        assert (once.made(tmp_path / "made", _count) / "content").is_file()
    assert (tmp_path / "count").read_text(encoding="utf-8") == "x"


def test_two_processes_that_want_the_same_folder_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=once.made, args=(tmp_path / "made", _count)) for _round in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join(timeout=30)
    assert [each.exitcode for each in both] == [0, 0]
    assert (tmp_path / "count").read_text(encoding="utf-8") == "x"


def _begin_and_fail(folder):
    (folder / "half").touch()
    raise LabError("no")


def _begin_and_be_killed(folder):
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_failed_make_leaves_nothing_that_counts(tmp_path):
    with pytest.raises(LabError):
        once.made(tmp_path / "made", _begin_and_fail)
    assert not (tmp_path / "made").exists()
    assert os.listdir(once.made(tmp_path / "made", _count)) == ["content"]


def test_a_killed_make_leaves_nothing_that_counts(tmp_path):
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=once.made, args=(tmp_path / "made", _begin_and_be_killed))
    killed.start()
    killed.join(timeout=30)
    assert killed.exitcode == -signal.SIGKILL
    assert not (tmp_path / "made").exists()
    assert os.listdir(once.made(tmp_path / "made", _count)) == ["content"]


@contextlib.contextmanager
def _answering(status):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/"
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.parametrize(("statuses", "reachable"), [([200, 200], True), ([200, 404], False)])
def test_the_public_channel_counts_as_reachable_when_all_its_addresses_answer(statuses, reachable):
    with _answering(statuses[0]) as first, _answering(statuses[1]) as second:
        assert public.is_reachable((first, second)) is reachable


def test_a_public_channel_that_nobody_serves_is_not_reachable():
    with _answering(200) as gone:
        pass
    assert public.is_reachable((gone,)) is False


@pytest.fixture
def served(tmp_path):
    """A folder to serve, and its name."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / server.NAME_FILE).write_text("first\n", encoding="utf-8")
    return folder


@pytest.fixture
def state(tmp_path):
    """A lab's folder; whatever serves from it is ended."""
    yield tmp_path / "state"
    server.stop(tmp_path / "state")


def _process_id(state):
    return (state / "channel.process").read_text(encoding="utf-8")


def test_a_server_that_serves_the_folder_is_kept(served, state):
    assert server.ensure(served, ADDRESS, state) == f"http://{ADDRESS}:{server.PORT}"
    before = _process_id(state)
    server.ensure(served, ADDRESS, state)
    assert _process_id(state) == before


def test_a_server_of_another_folder_is_replaced(served, state, tmp_path):
    server.ensure(served, ADDRESS, state)
    other = tmp_path / "other"
    other.mkdir()
    (other / server.NAME_FILE).write_text("second\n", encoding="utf-8")
    before = _process_id(state)
    server.ensure(other, ADDRESS, state)
    assert _process_id(state) != before


def test_each_request_is_logged_with_who_asked(served, state):
    server.ensure(served, ADDRESS, state)
    assert f"GET /{server.NAME_FILE} " in server.log(state).read_text(encoding="utf-8")


def test_a_stopped_server_is_gone(served, state):
    server.ensure(served, ADDRESS, state)
    record = state / "channel.process"
    assert process.is_alive(record)
    server.stop(state)
    assert not record.exists()
    # The address is free again: another can take it at once.
    server.ensure(served, ADDRESS, state)


def test_a_port_that_another_holds_is_named(served, state, tmp_path):
    server.ensure(served, ADDRESS, state)
    other = tmp_path / "other"
    other.mkdir()
    (other / server.NAME_FILE).write_text("second\n", encoding="utf-8")
    with pytest.raises(LabError, match=f"{ADDRESS}:{server.PORT}.*Address already in use"):
        server.ensure(other, ADDRESS, tmp_path / "another lab")
    assert process.is_alive(state / "channel.process")


def test_a_file_with_the_placeholder_is_marked_to_get_the_prefix(tmp_path):
    path = tmp_path / "program"
    path.write_text(f"#!{package.PLACEHOLDER}/bin/python\n", encoding="utf-8")
    entry = package.path_entry(path, Path("bin/program"))
    assert (entry["_path"], entry["path_type"]) == ("bin/program", "hardlink")
    assert (entry["prefix_placeholder"], entry["file_mode"]) == (package.PLACEHOLDER, "text")


def test_a_file_without_the_placeholder_is_taken_as_it_is(tmp_path):
    path = tmp_path / "plain"
    path.write_bytes(b"abc")
    assert package.path_entry(path, Path("plain")) == {
        "_path": "plain",
        "path_type": "hardlink",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "size_in_bytes": 3,
    }


def test_a_link_is_packed_as_a_link(tmp_path):
    (tmp_path / "target").write_text(package.PLACEHOLDER, encoding="utf-8")
    (tmp_path / "link").symlink_to("target")
    entry = package.path_entry(tmp_path / "link", Path("link"))
    assert entry["path_type"] == "softlink"
    assert "prefix_placeholder" not in entry


def test_dependencies_whose_marker_holds_are_named_as_conda_writes_them():
    metadata = (
        "Metadata-Version: 2.1\nName: x\n"
        'Requires-Dist: backports.zstd>=1; python_version >= "3"\n'
        'Requires-Dist: colorama; sys_platform == "win32"\n'
        'Requires-Dist: pytest; extra == "tests"\n'
        "Requires-Dist: always\n"
    )
    assert package.marked_dependencies(metadata) == ["backports-zstd >=1"]


def test_the_running_interpreter_is_the_one_below_the_virtual_environment():
    python = interpreter.running()
    assert python.version == ".".join(map(str, sys.version_info[:3]))
    assert python.minor == sysconfig.get_python_version()
    assert python.abi == f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert python.prefix == Path(sys.base_prefix) != Path(sys.prefix)
    assert (python.stdlib / "os.py").is_file()


def test_a_python_without_its_library_below_its_prefix_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    with pytest.raises(LabError, match=rf"{tmp_path}.*Make the tool environment with"):
        interpreter.running()


def test_debians_sysconfig_leaves_no_prefix_to_dist_packages():
    text = 'if sys.base_prefix != sys.prefix or hasattr(sys, "real_prefix"):\n    scheme = 1\n'
    assert interpreter.as_upstream(text) == "if True:\n    scheme = 1\n"


def test_a_sysconfig_of_another_kind_is_refused():
    with pytest.raises(LabError, match="does not ask"):
        interpreter.as_upstream("scheme = 'posix_prefix'\n")


def test_the_newest_c_library_asked_for_is_found(tmp_path):
    (tmp_path / "one.so").write_bytes(b"\x7fELF\0GLIBC_2.9\0GLIBC_2.34\0")
    (tmp_path / "other.so").write_bytes(b"\x7fELF\0GLIBC_2.17\0")
    assert interpreter.needed_glibc(tmp_path) == "2.34"


@pytest.fixture
def wheel(tmp_path):
    """A wheel that carries a conda as conda-lock's does."""
    path = tmp_path / "conda_lock-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conda_lock/_vendor/conda/_version.py", "__version__ = version = '24.7.1'")
        archive.writestr(
            "conda_lock/_vendor/conda/cli/main.py",
            "from conda_lock._vendor.conda.base import context\nx = 'conda_lock.vendor.conda.y'\n",
        )
        archive.writestr("conda_lock/other.py", "")
    return path


def test_the_carried_conda_is_told_its_version(wheel):
    assert vendored.version(wheel) == "24.7.1"


def test_the_carried_conda_is_put_back_under_its_own_name(wheel, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    vendored.stage(wheel, root, "3.11", "/PREFIX")
    site = root / "lib" / "python3.11" / "site-packages"
    main = (site / "conda" / "cli" / "main.py").read_text(encoding="utf-8")
    assert main == "from conda.base import context\nx = 'conda.y'\n"
    assert sorted(path.name for path in site.iterdir()) == ["conda", "conda-24.7.1.dist-info"]
    program = root / "bin" / "conda"
    assert program.read_text(encoding="utf-8").startswith("#!/PREFIX/bin/python\n")
    assert os.access(program, os.X_OK)


def test_a_build_is_named_by_its_python_and_its_tools():
    python = interpreter.running()
    one = local.digest(python, Path("/tools/one"))
    assert one == local.digest(python, Path("/tools/one"))
    assert one != local.digest(python, Path("/tools/other"))


def test_an_installers_name_carries_its_version():
    path = Path("/x/Miniforge3-24.7.1-0-Linux-x86_64.sh")
    assert local.miniforge_version(path) == "24.7.1-0"


def test_a_tool_ends_with_the_run_that_started_it(tmp_path):
    (tmp_path / "asleep.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    context = multiprocessing.get_context("fork")
    run = context.Process(target=_run_there, args=(tmp_path,))
    run.start()
    tool = _first_content(tmp_path / "pid")
    run.kill()
    run.join(timeout=30)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{tool}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{tool}").exists()


def _run_there(folder):
    os.chdir(folder)
    toolbox.run(sys.executable, "asleep", {}, 60)


def _first_content(path):
    deadline = time.monotonic() + 10
    while not (path.is_file() and path.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text(encoding="utf-8")


def test_what_a_tool_said_is_in_the_error():
    with pytest.raises(LabError, match=r"No module named lab\.channel\.nothing"):
        toolbox.run(sys.executable, "lab.channel.nothing", {}, 30)
