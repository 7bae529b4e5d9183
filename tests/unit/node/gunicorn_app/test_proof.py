"""The proof of an application, against real processes and a stand-in for systemd."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import subprocess
import sys
import time

import pytest
from web_app import APP, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import proof
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import listening

# A main process with one worker at a time, as gunicorn has; the mode says what the worker does.
SERVER = """
import os, socket, sys, time
path, mode = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(9)
def log(text):
    with open(os.path.join(os.path.dirname(path), "log"), "a") as journal:
        journal.write(f"Nov 22 22:33:41 node1 python[{os.getpid()}]: [{os.getpid()}] {text}\\n")
def work():
    answers = 0
    while True:
        client = listener.accept()[0]
        if mode == "silent":
            time.sleep(60)
        client.recv(999)
        status = b"500 Oops" if mode == "500" or (mode == "once" and answers) else b"200 OK"
        status = b"503 Soon" if mode == "503" else status
        client.sendall(b"HTTP/1.0 " + status + b"\\r\\n\\r\\n")
        client.close()
        answers += 1
        if mode in ("dies", "dies and is told"):
            os._exit(1)
        if mode == "renews":
            log("[INFO] Autorestarting worker after current request.")
        if mode in ("renews", "renews quietly"):
            os._exit(0)
while True:
    worker = os.fork() or work()
    print("ready", flush=True)
    status = os.waitpid(worker, 0)[1]
    if status and mode == "dies and is told":
        log(f"[ERROR] Worker (pid:{worker}) exited with code {status >> 8}")
"""
UNIT = "web.service"


class Logged(Systemd):
    """Has the journal of a server."""

    def __init__(self, path, **units):
        super().__init__(**units)
        self._path = path

    def run(self, argv, **options):
        self.log = self._path.read_text() if self._path.exists() else ""
        return super().run(argv, **options)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Return a function that starts a server in a mode, and proves an application by it."""
    (tmp_path / "release").mkdir()
    path = str(tmp_path / "http.sock")
    row = {"address": path, "port": 0, "pid": 1, "process": "systemd", "unit": "web.socket"}
    monkeypatch.setattr(listening, "survey", lambda run: [row])
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    app = {
        **APP, "release": str(tmp_path / "release"), "prefix": prefix, "start_timeout_s": 1,
        "user": getpass.getuser(),
    }  # fmt: skip
    with contextlib.ExitStack() as stack:

        def prove(mode="good", state=None, holder=None, environment=None, **changes):
            process = subprocess.Popen(
                [sys.executable, "-c", SERVER, path, mode],
                cwd=app["release"], stdout=subprocess.PIPE, text=True, start_new_session=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
            stack.callback(process.communicate)
            # With its worker, which has the same pipe.
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
            process.stdout.readline()
            row.update(holder or {})
            running = {
                "ActiveState": "active", "SubState": "running", "MainPID": str(process.pid),
                "NRestarts": "0",
            }  # fmt: skip
            systemd = Logged(tmp_path / "log", web_service={**running, **(state or {})})
            main = proof.prove(
                {**app, **changes}, UNIT, path, systemd.run, lambda _s: time.sleep(0.2)
            )
            return main == str(process.pid)

        yield prove


def refusal(prove, *arguments, **options):
    with pytest.raises(proof.NotServing) as refused:
        prove(*arguments, **options)
    return str(refused.value)


def test_an_application_that_answers_from_its_place_is_proven(served):
    assert served()


def test_another_answer_than_200_is_named(served):
    assert "GET /healthz on " in (said := refusal(served, "500"))
    assert said.startswith("for 1 s, ")
    assert said.endswith("answered 500")


def test_an_answer_that_waiting_does_not_change_is_not_waited_for(served, monkeypatch):
    monkeypatch.setattr(proof, "_DEFINITE_S", 0.5)
    begin = time.monotonic()
    said = refusal(served, "500", start_timeout_s=60)
    assert said.startswith("GET /healthz on ")
    assert said.endswith("answered 500")
    assert 0.5 <= time.monotonic() - begin < 10


def test_an_application_that_is_getting_ready_has_all_of_its_time(served, monkeypatch):
    monkeypatch.setattr(proof, "_DEFINITE_S", 0)
    assert refusal(served, "503").startswith("for 1 s, GET /healthz on ")


def test_an_application_that_says_nothing_is_given_up_in_time(served):
    assert "timed out" in refusal(served, "silent")


def test_a_worker_that_dies_of_a_request_is_noticed_though_the_next_one_answers(served):
    assert refusal(served, "dies") == "its worker dies after it has answered"


def test_a_worker_that_was_recycled_is_no_death(served):
    assert served("renews")


# Where an application says that its workers are recycled.
TOLD = {
    "command line": {"units": {UNIT: "ExecStart=/p/bin/python -m gunicorn --max-requests 1 m:a"}},
    "variable": {"units": {UNIT: 'Environment="GUNICORN_CMD_ARGS=--max-requests=1"'}},
    "secret": {"environment": {"GUNICORN_CMD_ARGS": "--max-requests 1 --log-level warning"}},
}


@pytest.mark.parametrize("place", TOLD)
def test_a_worker_that_was_recycled_is_no_death_though_the_log_is_quiet(served, place):
    assert served("renews quietly", **TOLD[place])


def test_a_configuration_in_the_release_may_say_that_workers_are_recycled(served, tmp_path):
    (tmp_path / "release/gunicorn.conf.py").write_text("loglevel = 'error'\nmax_requests = 1\n")
    assert served("renews quietly")


@pytest.mark.parametrize("place", TOLD)
def test_a_worker_that_dies_is_noticed_though_workers_are_recycled(served, place):
    assert refusal(served, "dies and is told", **TOLD[place]) == (
        "its worker dies after it has answered"
    )


def test_one_good_answer_is_not_enough(served):
    assert refusal(served, "once").startswith("it answered once, and then GET /healthz")


def test_the_right_answer_from_another_environment_is_refused(served):
    said = refusal(served, prefix="/opt/envs/other")
    assert said.startswith("its main process (pid ")
    assert said.endswith("not the environment /opt/envs/other")


def test_an_answer_without_a_main_process_is_no_proof(served):
    said = refusal(served, state={"MainPID": "0"}, server="python")
    assert said.startswith("its main process (pid 0) ")


def test_the_right_answer_from_another_folder_is_refused(served, tmp_path):
    assert "does not work in" in refusal(served, release=str(tmp_path))


def test_the_right_answer_of_another_user_is_refused(served):
    said = refusal(served, user="web")
    assert said.startswith("its main process (pid ")
    assert said.endswith(f"runs as {getpass.getuser()}, not as web")


def test_an_address_that_somebody_else_holds_is_refused(served):
    holder = {"pid": os.getpid(), "process": "nginx", "unit": "nginx.service"}
    assert "is answered by nginx (pid " in refusal(served, holder=holder)


def test_a_holder_of_the_address_from_another_place_is_refused(served, tmp_path):
    holder = {"pid": os.getpid(), "process": "web", "unit": UNIT}
    assert refusal(served, holder=holder).endswith(f"does not work in {tmp_path}/release")


# How a start that comes to nothing is told: the unit's state, and what is said of it.
DEATHS = {
    "failed": ({"ActiveState": "failed"}, "it dies as soon as it is started"),
    "ended": ({"ActiveState": "inactive", "Job": "0"}, "it dies as soon as it is started"),
    "too late": ({"ActiveState": "failed", "Result": "timeout"}, "for 1 s, it was not up"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_unit_that_is_gone_is_not_waited_for(served, death):
    state, said = DEATHS[death]
    assert refusal(served, state=state) == said


class Script(Systemd):
    """Says one thing after another of the unit, the last one for ever."""

    def __init__(self, *states):
        super().__init__()
        self._states = list(states)

    def run(self, argv, **options):
        if argv[:2] == ["systemctl", "show"] and self._states:
            self.units[UNIT] = self._states.pop(0)
        return super().run(argv, **options)


CHECKING = {"ActiveState": "activating", "SubState": "start-pre", "MainPID": "0"}
RUNNING = {"ActiveState": "active", "SubState": "running", "MainPID": "0", "NRestarts": "0"}
STARTS = {
    "check fails": (
        [CHECKING, {"ActiveState": "failed", "Result": "exit-code"}],
        "the check of its configuration, which imports it, fails",
    ),
    "check hangs": ([CHECKING], "it hangs at import"),
    "systemd ends a check that hangs": (
        [CHECKING, {"ActiveState": "failed", "Result": "timeout"}], "it hangs at import",
    ),
    "never ready": (
        [{**CHECKING, "SubState": "start"}], "it has not said after 1 s that it is ready",
    ),
    "started again": ([RUNNING, {**RUNNING, "NRestarts": "1"}], "it dies as soon as it is started"),
    "asked for, then failed": (
        [{"ActiveState": "inactive", "Job": "7"}, {"ActiveState": "failed"}],
        "it dies as soon as it is started",
    ),
}  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_how_far_a_start_came_is_told(tmp_path, start):
    states, said = STARTS[start]
    app, path = {**APP, "start_timeout_s": 1}, str(tmp_path / "none.sock")
    with pytest.raises(proof.NotServing, match=said):
        proof.prove(app, UNIT, path, Script(*states).run, lambda _s: None)
