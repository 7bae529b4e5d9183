"""A release proves itself beside the one in service, or is taken back: nobody who asks notices."""

from __future__ import annotations

import threading
import time

import pytest

from system import environments
from system.gunicorn_app.demo import CODE, Demo

pytestmark = pytest.mark.lab

# The worker becomes another Python, which answers in its place and rightly.
OTHER_PYTHON = """\
import os, socket, sys
SERVER = '''
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
while True:
    client = listener.accept()[0]
    client.recv(9999)
    client.sendall(b"HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\n")
    client.close()
'''
def is_listener(fd):
    try:
        with socket.socket(fileno=os.dup(fd)) as found:
            return found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        return False
if "--check-config" not in sys.argv:
    listener = next(filter(is_listener, range(3, 99)))
    os.set_inheritable(listener, True)
    os.execv("/usr/bin/python3", ["python3", "-c", SERVER, str(listener)])
"""
DIES = """
import threading
@app.teardown_request
def die(_error):
    threading.Timer(0.1, os._exit, [1]).start()
"""
HANGS = "import time\ntime.sleep(600)\n"
# What is wrong with a release, and what is said of it.
REFUSED = {
    "syntax error": ("app = (\n", "imports it, fails: SyntaxError: "),
    "500 on health": (
        CODE.replace("    return jsonify", "    return 'no', 500\n    return jsonify"),
        "/healthz on /run/demo-candidate/http.sock answered 500",
    ),
    "hang at import": (f"{HANGS}{CODE}", "it hangs at import"),
    "dying worker": (CODE + DIES, "its worker dies after it has answered"),
    "another environment": (OTHER_PYTHON + CODE, "runs /usr/bin/python3"),
    "missing secret": (
        f"{CODE}TOKEN = os.environ['TOKEN']\n", "environment variable TOKEN is missing",
    ),
}  # fmt: skip
# One that answers wrongly, one that never answers.
IN_EVERY_RUN = ("500 on health", "hang at import")
LEFT = "ls -d /run/systemd/system/demo-candidate* /run/gpunode /run/demo-candidate 2>&1 || true"


@pytest.fixture(scope="module")
def demo(lab, tmp_path_factory):
    environments.fresh(lab, "node1")
    found = Demo(lab, tmp_path_factory.mktemp("demo"))
    found.options["start_timeout_s"] = 6
    found.secrets = {"KEPT": "Uncommon-Secret-3"}
    found.converge()
    yield found
    lab.fresh("node1")


@pytest.fixture(autouse=True)
def _good_again(demo):
    yield
    demo.code(CODE)


def no_candidate(demo):
    """Say whether there is nothing of a candidate on the node."""
    state = demo.root("systemctl show --value --property=ActiveState demo-candidate.service")
    return state == "inactive" and demo.root(LEFT).count("No such file") == 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.slow)
        for name in REFUSED
    ],
)
def test_a_release_that_does_not_work_is_refused_beside_the_one_in_service(demo, fault):
    code, said = REFUSED[fault]
    before = demo.ask()["release"], demo.main_process(), demo.releases()
    demo.code(code)
    with demo.polled() as pressure:
        run = demo.run()
    assert run.status != 0
    assert said in run.messages()
    assert "Nothing in service was touched" in run.messages()
    assert pressure.lost == []
    assert set(pressure.answers) == {before[0].encode()}
    assert (demo.ask()["release"], demo.main_process(), demo.releases()) == before
    assert no_candidate(demo)


def test_a_release_that_works_replaces_the_other_and_no_request_is_lost(demo):
    before = demo.ask()["release"]
    demo.code(f"{CODE}# another\n")
    predicted = demo.converge("--check")
    with demo.polled() as pressure:
        assert demo.converge() == predicted
        pressure.more(3)
    after = demo.ask()["release"]
    assert f"try release {after} as a candidate" in predicted
    assert pressure.lost == []
    assert set(pressure.answers) == {before.encode(), after.encode()}
    assert no_candidate(demo)


@pytest.mark.slow
def test_what_a_candidate_logs_is_told_without_its_secrets(demo):
    demo.code(f"{CODE}raise RuntimeError(os.environ['KEPT'])\n")
    run = demo.run()
    assert run.status != 0
    assert "RuntimeError: ********" in run.messages()
    assert "Uncommon-Secret-3" not in run.messages()


def kill_once(demo, happened):
    """Run site.yml, and kill what it does on the node once something has happened there."""
    run = threading.Thread(target=demo.run)
    run.start()
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.2)
    demo.root('kill -9 $(tr -cs 0-9 "\\n" < /run/gpunode.lock | sed -n 2p)')
    run.join(120)


def candidate_starts(demo):
    return demo.root("systemctl is-active demo-candidate.service || true") == "activating"


def test_a_run_that_is_killed_during_its_candidate_is_made_up_for(demo):
    served, before = demo.ask()["release"].rpartition("/")[2], demo.releases()
    demo.code(f"{HANGS}{CODE}")
    kill_once(demo, lambda: candidate_starts(demo))
    assert not no_candidate(demo)
    (hanging,) = demo.releases() - before
    demo.code(f"{CODE}# a third\n")
    predicted = demo.converge("--check")
    assert "remove the candidate of demo that an earlier run left" in predicted
    assert f"remove /home/demo/code/releases/{hanging}" in predicted
    assert demo.converge() == predicted
    assert no_candidate(demo)
    assert demo.converge() == []
    # What served stays the way back.
    assert demo.releases() == {served, demo.ask()["release"].rpartition("/")[2]}


@pytest.mark.slow
def test_what_a_killed_run_left_and_the_next_one_refuses_does_not_stay(demo):
    before = demo.releases()
    demo.code(f"{HANGS}# again\n{CODE}")
    kill_once(demo, lambda: candidate_starts(demo))
    assert demo.releases() > before
    assert "it hangs at import" in demo.run().messages()
    assert demo.releases() == before


def test_a_run_that_is_killed_between_switch_and_proof_leaves_the_way_back(demo):
    before, units = demo.ask()["release"], "md5sum /etc/systemd/system/demo.*"
    placed, note = demo.root(units), "/var/lib/gpunode/demo.before"
    process = demo.main_process()
    demo.options["candidate"] = False
    demo.code(f"{HANGS}# switched\n{CODE}")
    # Its workers hang, and so does the proof.
    kill_once(demo, lambda: demo.main_process() not in ("0", process))
    assert demo.root(units) != placed
    assert demo.root(f'stat -c "%a %U" {note}') == "600 root"
    again = demo.run()
    del demo.options["candidate"]
    assert again.status != 0
    assert "What was in service before is in service again" in again.messages()
    assert demo.ask()["release"] == before
    assert demo.root(units) == placed
    assert demo.root(f"ls {note} 2>&1 || true").endswith("No such file or directory")


def test_a_full_disk_is_named_and_what_served_serves(demo):
    before, secrets = demo.ask()["release"], dict(demo.secrets)
    demo.root(
        "cp -a /etc/gpunode /tmp/kept && mount -t tmpfs -o size=8k,mode=755 tmpfs /etc/gpunode"
        " && cp -a /tmp/kept/. /etc/gpunode"
    )
    demo.secrets["LONG"] = "x" * 5000
    run = demo.run()
    demo.secrets = secrets
    demo.root("umount /etc/gpunode && rm -r /tmp/kept")
    assert run.status != 0
    assert "the file system of /etc/gpunode/demo.env is full" in run.messages()
    assert "What was in service before is in service again" in run.messages()
    assert "Correct the application" not in run.messages()
    assert demo.ask()["release"] == before


def test_without_a_candidate_what_served_serves_again_and_requests_wait_for_it(demo):
    before = demo.ask()["release"]
    units, socket = "md5sum /etc/systemd/system/demo.*", "ss -xlnt | grep :9100"
    placed = demo.root(units), demo.root(socket), demo.releases()
    demo.options["candidate"] = False
    demo.code(f"{CODE}TOKEN = os.environ['TOKEN']\n")
    with demo.polled() as pressure:
        run = demo.run()
        pressure.more(3)
    del demo.options["candidate"]
    assert run.status != 0
    assert "What was in service before is in service again" in run.messages()
    assert "environment variable TOKEN is missing" in run.messages()
    assert pressure.lost == [], demo.root("journalctl -o short-precise -u demo.service -n 60")
    assert set(pressure.answers) == {before.encode()}
    assert (demo.root(units), demo.root(socket), demo.releases()) == placed


def test_what_is_said_of_a_release_in_service_that_was_mended_is_true(demo):
    demo.code(f"{CODE}TOKEN = os.environ['TOKEN']\n")
    demo.secrets["TOKEN"] = "x"
    demo.converge()
    release = demo.ask()["release"]
    demo.root(f"touch {release}/more.py")
    del demo.secrets["TOKEN"]
    said = demo.run().messages()
    assert "environment variable TOKEN is missing" in said
    assert "What had been changed in the release in service was put right" in said
    assert demo.root(f"ls {release}") == "main.py"
