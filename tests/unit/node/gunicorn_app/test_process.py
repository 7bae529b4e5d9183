"""What an application's running processes were started from."""

from __future__ import annotations

import getpass
import os
import pwd
import subprocess
import time
from pathlib import Path

import pytest
from web_app import APP, PYTHON

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    process as app_process,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import service
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import systemd


@pytest.fixture
def running(tmp_path):
    """A real process in a release folder, started with marks, and the APP that wants exactly it."""
    release = tmp_path / "release"
    release.mkdir()
    marks = {systemd.UNIT_MARK: "d1", service.SECRETS_MARK: "s1"}
    process = subprocess.Popen(["/bin/sleep", "60"], cwd=release, env=marks)
    exe = os.path.realpath("/bin/sleep")
    deadline = time.monotonic() + 5
    while not Path(f"/proc/{process.pid}/environ").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel is still loading it
    wanted = {
        **APP, "release": str(release), "prefix": os.path.dirname(exe), "secrets_digest": "s1",
        "user": getpass.getuser(),
    }  # fmt: skip
    yield process, wanted
    process.kill()
    process.wait()


def reason(process, wanted):
    return app_process.reasons_to_restart(
        wanted, app_process.process(process.pid, wanted["release"])
    )


def test_the_process_that_is_wanted_is_left_alone(running):
    assert reason(*running) == ""


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("unit_digest", "d2", "another unit"),
        ("secrets_digest", "s2", "other secrets"),
        ("secrets_digest", "", "other secrets"),
        ("prefix", "/opt/envs/other", "not the environment /opt/envs/other"),
        ("user", "web", f"runs as {getpass.getuser()}, not as web"),
        ("release", "/", "does not work in /"),
        ("release", "/no/such", "does not work in /no/such"),
    ],
)
def test_a_process_that_was_started_from_something_else_is_restarted(running, key, value, said):
    process, wanted = running
    assert said in reason(process, {**wanted, key: value})


def test_a_process_of_a_user_with_two_names_is_left_alone(running, monkeypatch):
    process, wanted = running
    found = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwnam", {"web": found, found.pw_name: found}.__getitem__)
    assert reason(process, {**wanted, "user": "web"}) == ""


def test_a_process_in_a_folder_that_was_replaced_is_restarted(running):
    process, wanted = running
    os.rename(wanted["release"], wanted["release"] + ".old")
    os.mkdir(wanted["release"])
    assert "does not work in" in reason(process, wanted)


def test_a_process_that_is_gone_is_restarted(running):
    process, wanted = running
    process.kill()
    process.wait()
    assert "gone" in reason(process, wanted)
    assert app_process.process("0", "/") is None


def test_the_workers_of_gunicorn_are_its_children_and_of_plain_python_nothing_is_known(running):
    process, _wanted = running
    assert process.pid in app_process.workers(APP, str(os.getpid()))
    assert app_process.workers(PYTHON, str(os.getpid())) == set()
