"""An application on a real host: secrets, releases, addresses, changes that went half way."""

from __future__ import annotations

import concurrent.futures
import http.client
import json

import pytest

from lab import fleet

pytestmark = pytest.mark.lab

CODE = """\
import os
from flask import Flask, jsonify
app = Flask(__name__)
@app.get("/healthz")
def health():
    return jsonify({**os.environ, "release": os.getcwd()})
"""
SECRETS = {"TOKEN": "se\"c$r`e\\t 'x' %n", "KEY": "-----\nline\n-----"}
PLAIN = {"MODE": 'a "b" \\ 50% of\n$HOME'}


class Demo:
    """An application on node1 that answers with what it runs on; tests change it."""

    def __init__(self, lab, folder):
        self.lab = lab
        self._source = folder / "source"
        self._source.mkdir()
        self._log = folder / "ssh"
        self.options = {
            "name": "demo", "environment": "ob_cuda", "source": str(self._source),
            "listen": "0.0.0.0:9100", "dir": "/home/demo/code", "start_timeout_s": 20,
        }  # fmt: skip
        self.secrets = {}

    def code(self, text):
        (self._source / "main.py").write_text(text)

    def run(self, *arguments):
        variables = {
            "gunicorn_app_list": [self.options],
            "gunicorn_app_secrets": {"demo": self.secrets},
        }
        return fleet.site(
            "--limit", "node1", "-e", json.dumps(variables), *arguments, log=self._log
        )

    def converge(self, *arguments):
        """Run site.yml and return what it changed."""
        run = self.run(*arguments)
        assert run.status == 0, run.messages()
        return run.changes("node1")

    def root(self, command):
        answer = self.lab.ssh("node1", f"sudo sh -c '{command}'", timeout_s=60)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def ask(self):
        """Return what the application says of itself."""
        port = int(self.options["listen"].rpartition(":")[2])
        connection = http.client.HTTPConnection(self.lab.nodes[0].address, port, timeout=10)
        connection.request("GET", "/healthz")
        return json.load(connection.getresponse())

    def releases(self):
        return set(self.root("ls /home/demo/code/releases").split())


@pytest.fixture(scope="module")
def demo(lab, tmp_path_factory):
    lab.fresh("node1")
    found = Demo(lab, tmp_path_factory.mktemp("demo"))
    found.code(CODE)
    found.converge()
    yield found
    lab.fresh("node1")


def test_variables_and_secrets_arrive_as_they_were_written(demo):
    demo.options["environment_variables"], demo.secrets = PLAIN, SECRETS
    run = demo.run("-vvv", "--diff")
    assert run.status == 0, run.messages()
    environment = demo.ask()
    assert {key: environment[key] for key in {**PLAIN, **SECRETS}} == {**PLAIN, **SECRETS}


def test_secrets_are_for_root_and_the_application_alone(demo):
    demo.secrets = {"TOKEN": "Uncommon-Secret-1"}
    run = demo.run("-vvv", "--diff")
    assert run.status == 0, run.messages()
    # What was given on the command line is shown by nobody but the operator's own shell.
    assert "Uncommon-Secret-1" not in run.text
    assert demo.root('stat -c "%a %U" /etc/gpunode/demo.env') == "600 root"
    found = demo.root("grep -rl Uncommon-Secret-1 /etc /var/lib/gpunode /home /srv || true")
    assert found == "/etc/gpunode/demo.env"
    assert "Uncommon-Secret-1" not in demo.root("systemctl show demo.service")


def test_a_changed_secret_restarts_the_service_and_nothing_else(demo):
    demo.secrets = {"TOKEN": "Uncommon-Secret-2"}
    assert demo.converge() == [
        "write /etc/gpunode/demo.env",
        "restart demo.service: it was started with other secrets",
    ]
    assert demo.ask()["TOKEN"] == "Uncommon-Secret-2"


def test_secrets_that_are_no_longer_wanted_are_removed(demo):
    demo.secrets = {}
    assert "remove /etc/gpunode/demo.env" in demo.converge()
    assert "TOKEN" not in demo.ask()
    assert demo.root("ls /etc/gpunode") == ""


def test_a_restart_that_a_killed_run_still_owes_is_made_up_for(demo):
    """The unit is in place and systemd has read it; what runs is of another one, and no receipt."""
    unit = "/etc/systemd/system/demo.service"
    demo.root(
        f"cp {unit} /tmp/wanted && sed -i s/GPUNODE_UNIT=.*/GPUNODE_UNIT=old/ {unit}"
        " && systemctl daemon-reload && systemctl restart demo.service"
        f" && cat /tmp/wanted > {unit} && systemctl daemon-reload"
        " && rm /var/lib/gpunode/gunicorn_app.json"
    )
    assert demo.converge() == ["restart demo.service: it was started from another unit"]


def test_an_address_that_systemd_read_and_does_not_listen_on_yet_is_opened(demo):
    demo.root(
        "sed -i s/9100/9101/ /etc/systemd/system/demo.socket && systemctl daemon-reload"
        " && ss -tln | grep -q :9100"
    )
    demo.options["listen"] = "0.0.0.0:9101"
    assert demo.converge() == [
        "listen on 0.0.0.0:9101 by demo.socket",
        "restart demo.service: its socket is opened anew",
    ]
    assert demo.ask()["release"].startswith("/home/demo/code/releases/")
    assert demo.root("ss -tln | grep -c :9100 || true") == "0"


def test_one_earlier_release_stays_and_one_that_somebody_uses(demo):
    first = demo.ask()["release"]
    demo.root(f"systemd-run --quiet --unit=visitor --working-directory={first} sleep 300")
    for number in range(3):
        demo.code(f"{CODE}# {number}\n")
        predicted = demo.converge("--check")
        assert demo.converge() == predicted
    now = demo.ask()["release"]
    assert len(demo.releases()) == 3
    assert {first.rpartition("/")[2], now.rpartition("/")[2]} < demo.releases()
    assert demo.root("readlink /home/demo/code/current") == now
    demo.root("systemctl stop visitor")


def test_a_release_that_dies_leaves_no_trace_and_the_last_one_serving(demo):
    before, releases = demo.ask(), demo.releases()
    units = demo.root("md5sum /etc/systemd/system/demo.*")
    demo.code("app = 1\nraise RuntimeError('broken on purpose')\n")
    run = demo.run()
    assert run.status != 0
    said = run.messages()
    assert "in service again" in said
    assert "broken on purpose" in said.split("journal ends with:")[1]
    assert demo.ask()["release"] == before["release"]
    assert demo.releases() == releases
    assert demo.root("md5sum /etc/systemd/system/demo.*") == units
    demo.code(CODE)


def test_a_release_that_answers_something_else_than_200_is_taken_back(demo):
    before = demo.ask()
    demo.options["health_path"], demo.options["start_timeout_s"] = "/nowhere", 2
    demo.code(f"{CODE}# another\n")
    run = demo.run()
    assert run.status != 0
    assert "answered 404" in run.messages()
    assert demo.ask()["release"] == before["release"]
    demo.options["health_path"], demo.options["start_timeout_s"] = "/healthz", 20
    demo.code(CODE)


def test_no_request_is_lost_while_the_service_is_restarted(demo):
    demo.converge()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        restart = pool.submit(demo.root, "systemctl restart demo.service")
        answers = [demo.ask()["INVOCATION_ID"]]
        while not restart.done():
            answers.append(demo.ask()["INVOCATION_ID"])
    answers.append(demo.ask()["INVOCATION_ID"])
    assert len(set(answers)) == 2, "requests were answered by the old service and by the new one"


def test_a_unix_socket_serves_too(demo):
    demo.options["listen"] = "/run/demo/demo.sock"
    assert "listen on /run/demo/demo.sock by demo.socket" in demo.converge()
    assert demo.root("ss -xln | grep -c /run/demo/demo.sock") == "1"
    assert demo.converge() == []
