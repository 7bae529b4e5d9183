"""What clients lose while a service is reloaded, restarted and brought to another release: nothing.

The clients never ask twice, and no test here knows how gunicorn goes about its restarts.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.load import load
from system import environments, playbooks

pytestmark = pytest.mark.lab

NAME, PORT, NODE = "pressed", 9200, "node1"
RELOADS, RESTARTS = 20, 5
# Answers that show that there was load: some for each new process.
ENOUGH = 1000
LOCK = playbooks.PROJECT / "inventory/lab/generated/ob_cuda.lock"
# gunicorn by itself waits 30 s for what its workers are at.
SLOW_S, TIMEOUT_S = 33, 50
# Wheels of gunicorn, as the package index offers them.
WHEELS = {
    "24.1.1": "757f6b621fc4f7581a90600b2cd9df593461f06a41d7259cb9b94499dc4095a8",
    "27.0.1": "378b26b9a38adcf4592f28828233c1716acc55e833ea06bf48719782efaa0d10",
}
CODE = """\
import os
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep({slow_s})
    body = b"release {number} process %d" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Pressed:
    """An application on a node that says in each answer which release and process gave it."""

    def __init__(self, lab, folder, environment, threads):
        self._lab = lab
        self._folder = folder
        self._release = 0
        self.address = lab.node(NODE).address
        self.variables = {
            "gunicorn_app_list": [
                {
                    "name": NAME,
                    "environment": environment,
                    "source": str(folder),
                    "listen": f"0.0.0.0:{PORT}",
                    "health_path": "/",
                    "threads": threads,
                    "timeout_s": TIMEOUT_S,
                }
            ]
        }

    def next_release(self):
        """Bring another release into service through site.yml."""
        self._release += 1
        (self._folder / "main.py").write_text(CODE.format(number=self._release, slow_s=SLOW_S))
        self._converge(self.variables)

    def remove(self):
        """Leave nothing of it on the node."""
        gone = {
            key: [{"name": item["name"], "state": "absent"} for item in items]
            for key, items in self.variables.items()
        }
        self._converge(gone)

    def _converge(self, variables):
        arguments = ("--limit", NODE, "-e", json.dumps(variables))
        run = playbooks.site(*arguments, log=self._folder.with_suffix(".ssh"))
        assert run.status == 0, run.messages()

    def ask(self):
        """Return one answer."""
        connection = http.client.HTTPConnection(self.address, PORT, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().read()

    def systemctl(self, verb):
        """Have systemd do something to the service."""
        answer = self._lab.ssh(NODE, f"sudo systemctl {verb} {NAME}.service", timeout_s=120)
        assert answer.returncode == 0, answer.stderr


# gunicorn of the lab's channel (23), and of the package index.
SERVERS = {
    "as locked": (None, 1),
    "27": pytest.param(("27.0.1", 1), marks=pytest.mark.slow),
    "24 with threads": pytest.param(("24.1.1", 4), marks=pytest.mark.slow),
    "27 with threads": pytest.param(("27.0.1", 4), marks=pytest.mark.slow),
}


@pytest.fixture(scope="module")
def node(lab):
    """The node with the lab's own environment."""
    environments.fresh(lab, NODE)


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def pressed(request, lab, node, tmp_path_factory):
    """The application under some gunicorn, (version, threads of a worker)."""
    version, threads = request.param
    folder = tmp_path_factory.mktemp("pressed")
    if version is None:
        found = Pressed(lab, folder, "ob_cuda", threads)
    else:
        lines = LOCK.read_text().splitlines(keepends=True)
        lock, wheel = folder.with_suffix(".lock"), folder.with_suffix(".txt")
        lock.write_text("".join(line for line in lines if "/gunicorn-" not in line))
        wheel.write_text(f"gunicorn=={version} --hash=sha256:{WHEELS[version]}\n")
        found = Pressed(lab, folder, NAME, threads)
        found.variables["conda_env_list"] = [
            {"name": NAME, "lock": str(lock), "requirements": str(wheel)}
        ]
    found.next_release()
    yield found
    found.remove()


def renew(pressure, action):
    """Do what is to bring new processes, and wait until one of them has answered."""
    before = set(pressure.answers)
    action()
    pressure.until(lambda: set(pressure.answers) - before)


def test_no_request_is_lost_in_reloads_restarts_and_a_change_of_release(pressed):
    loads = [
        load(pressed.address, PORT, kept=kept, clients=4, pause_s=0.02) for kept in (False, True)
    ]
    with loads[0] as single, loads[1] as kept:
        for _reload in range(RELOADS):
            renew(single, lambda: pressed.systemctl("reload"))
        for _restart in range(RESTARTS - 1):
            renew(single, lambda: pressed.systemctl("restart"))
        renew(single, pressed.next_release)
    assert single.lost == kept.lost == [], f"single: {single}; kept: {kept}"
    assert min(single.answered, kept.answered) > ENOUGH
    # The server closes each connection with its answer: a client that would keep it is told so, and
    # has none on which a request could be lost.
    assert kept.opened == kept.sent


@pytest.mark.slow
def test_a_request_that_may_take_its_time_is_answered_though_the_service_restarts(pressed):
    connection = http.client.HTTPConnection(pressed.address, PORT, timeout=2 * TIMEOUT_S)
    connection.request("GET", "/slow")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(connection.getresponse)
        # The request is with a worker once another one is answered after it.
        pressed.ask()
        pressed.systemctl("restart")
        assert answer.result().status == 200
    connection.close()
