"""What serves an application, how it is confined, and what loosens that, on a real host."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from lab.load import load
from system import environments, playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

LOCK = PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
NEWER = """\
gunicorn==27.0.1 \\
    --hash=sha256:378b26b9a38adcf4592f28828233c1716acc55e833ea06bf48719782efaa0d10
"""
WSGI = """\
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.getcwd().encode()]
"""
PLAIN = """\
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.getcwd().encode())
HTTPServer(("0.0.0.0", {port}), Handler).serve_forever()
"""
BROKEN = "raise RuntimeError('broken on purpose')\n"
# What a just-in-time compiler does: memory that is written, then run.
WRITES_AND_RUNS = """\
import mmap
mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
"""
APPS = {
    "plain": {"server": "python", "listen": "0.0.0.0:9110"},
    "older": {"listen": "0.0.0.0:9111"},
    "newer": {"listen": "0.0.0.0:9112", "environment": "newer"},
    "gpu": {"listen": "0.0.0.0:9113", "gpu": True},
    "jit": {"listen": "0.0.0.0:9114", "jit": True},
}


class Servers:
    """The applications above on node1."""

    def __init__(self, lab, folder):
        self._lab = lab
        self._folder = folder
        lines = LOCK.read_text().splitlines(keepends=True)
        (folder / "bare.lock").write_text("".join(x for x in lines if "/gunicorn-" not in x))
        (folder / "newer.txt").write_text(NEWER)
        for name in APPS:
            self.code(name, PLAIN.format(port=9110) if name == "plain" else WSGI)
        self.code("jit", WRITES_AND_RUNS + WSGI)

    def code(self, name, text):
        """Give an application its code."""
        (self._folder / name).mkdir(exist_ok=True)
        (self._folder / name / "main.py").write_text(text)

    def source(self, name):
        """Return the folder with an application's code."""
        return str(self._folder / name)

    def run(self, apps, *arguments):
        """Run site.yml with the named applications, {name: options}."""
        common = {"environment": "older", "start_timeout_s": 20}
        variables = {
            "conda_env_list": [
                {"name": "older", "lock": str(LOCK)},
                {
                    "name": "newer",
                    "lock": str(self._folder / "bare.lock"),
                    "requirements": str(self._folder / "newer.txt"),
                },
            ],
            "gunicorn_app_list": [
                {"name": name, "source": self.source(name), **common, **app}
                for name, app in apps.items()
            ],
        }
        return playbooks.site(
            "--limit", "node1", "-e", json.dumps(variables), *arguments, log=self._folder / "ssh"
        )

    def converge(self, *arguments, **apps):
        """Run site.yml with all applications, some of them otherwise; return what it changed."""
        run = self.run({**APPS, **apps}, *arguments)
        assert run.status == 0, run.messages()
        return run.changes("node1")

    def root(self, command):
        """Return what a command says to root on the node."""
        answer = self._lab.ssh("node1", f"sudo sh -c '{command}'", timeout_s=60)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def polled(self, name):
        """Ask an application all the time during a ``with`` block; see :func:`lab.load.load`."""
        return load(self._lab.node("node1").address, port_of(name), clients=1)

    def ask(self, name):
        """Return the folder that an application says it works in."""
        address = self._lab.node("node1").address
        connection = http.client.HTTPConnection(address, port_of(name), timeout=10)
        connection.request("GET", "/")
        return connection.getresponse().read().decode()

    def wait(self, name):
        """Return what :meth:`ask` does, once a Python server that was started answers."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.ask(name)
            except ConnectionError:
                assert time.monotonic() < deadline, f"{name} does not answer"
                time.sleep(0.1)

    def journal(self, name):
        """Return all that an application's service has logged."""
        return self.root(f"journalctl --no-pager --output=cat -u {name}.service")


def port_of(name):
    """Return the port on which an application answers."""
    return int(APPS[name]["listen"].rpartition(":")[2])


@pytest.fixture(scope="module")
def servers(lab, tmp_path_factory):
    environments.fresh(lab, "node1")
    found = Servers(lab, tmp_path_factory.mktemp("servers"))
    found.converge()
    yield found
    lab.fresh("node1")


def test_each_application_serves_from_its_own_release(servers):
    for name in APPS:
        assert servers.ask(name).startswith(f"/srv/{name}/releases/")


def test_a_second_run_changes_nothing(servers):
    assert servers.converge() == []


def test_a_python_server_has_no_socket_unit_and_is_the_process_that_listens(servers):
    assert servers.root("ls /etc/systemd/system/plain.*") == "/etc/systemd/system/plain.service"
    pid = servers.root("systemctl show --value --property=MainPID plain.service")
    assert f"pid={pid}," in servers.root("ss -tlnpH sport = :9110")


def test_a_python_server_that_was_stopped_is_started_again(servers):
    servers.root("systemctl stop plain.service")
    predicted = servers.converge("--check")
    assert predicted == ["start plain.service"]
    assert servers.converge() == predicted
    assert servers.ask("plain")


@pytest.mark.parametrize(("name", "version"), [("older", "23.0.0"), ("newer", "27.0.1")])
def test_gunicorn_of_each_generation_starts_without_a_complaint(servers, name, version):
    log = servers.journal(name)
    assert f"Starting gunicorn {version}" in log
    assert "rror" not in log


def test_the_control_socket_of_a_newer_gunicorn_answers_root_and_is_closed_to_others(servers):
    said = servers.root(
        '/opt/gpunode/envs/newer/bin/python -c "from gunicorn.ctl.cli import main; main()"'
        ' -s /run/gpunode-newer/gunicorn.ctl -c "show workers"'
    )
    assert "Total: 2 workers" in said
    assert servers.root('stat -c "%a %U" /run/gpunode-newer') == "700 newer"


def test_a_service_that_says_it_uses_gpus_starts_where_there_is_none(servers):
    names = "After,PrivateDevices,DevicePolicy,DeviceAllow,ActiveState"
    shown = servers.root(f"systemctl show gpu.service --property={names}").splitlines()
    assert {
        "ActiveState=active", "PrivateDevices=no", "DevicePolicy=closed",
        "DeviceAllow=char-nvidia* rwm",
    } <= set(shown)  # fmt: skip
    assert "modprobe@nvidia_uvm.service" in "".join(shown)


def test_memory_that_is_written_and_run_is_for_those_that_ask(servers):
    servers.code("strict", WRITES_AND_RUNS + WSGI)
    serving = servers.ask("jit")
    with servers.polled("jit") as pressure:
        run = servers.run({**APPS, "strict": {"listen": "0.0.0.0:9115"}})
    assert run.status != 0
    assert "PermissionError" in run.messages().split("journal ends with:")[1]
    assert pressure.lost == []
    assert set(pressure.answers) == {serving.encode()}


@pytest.mark.slow
def test_a_name_that_a_unit_of_the_distribution_has_is_refused_before_anything_is_touched(servers):
    serving = servers.ask("older")
    source = {"source": servers.source("older")}
    with servers.polled("older") as pressure:
        run = servers.run({**APPS, "ssh": {"listen": "0.0.0.0:9116", **source}})
    assert run.status != 0
    assert "ssh.service is there already, from " in run.messages()
    assert run.changes("node1") == []
    assert servers.root("ls -d /srv/ssh /etc/systemd/system/ssh.s* 2>/dev/null || true") == ""
    assert pressure.lost == []
    assert set(pressure.answers) == {serving.encode()}


def placed(servers, name):
    """Return what is in place of an application: its units and their states, its releases."""
    return servers.root(
        f"md5sum /etc/systemd/system/{name}.s*; ls /srv/{name}/releases; "
        f"systemctl is-active {name}.service {name}.socket; "
        f"systemctl is-enabled {name}.service {name}.socket; true"
    )


@pytest.mark.slow
def test_a_change_of_a_python_server_that_does_not_work_is_taken_back(servers):
    serving, before = servers.ask("plain"), placed(servers, "plain")
    servers.code("plain", BROKEN)
    run = servers.run(APPS)
    servers.code("plain", PLAIN.format(port=port_of("plain")))
    assert run.status != 0
    assert "broken on purpose" in run.messages()
    assert "What was in service before is in service again" in run.messages()
    assert servers.wait("plain") == serving
    assert placed(servers, "plain") == before
    assert servers.converge() == []


def test_a_change_to_another_server_that_does_not_work_is_taken_back_with_the_socket(servers):
    serving, before = servers.ask("older"), placed(servers, "older")
    servers.code("older", BROKEN)
    run = servers.run({**APPS, "older": {**APPS["older"], "server": "python"}})
    servers.code("older", WSGI)
    assert run.status != 0
    assert "broken on purpose" in run.messages()
    assert "What was in service before is in service again" in run.messages()
    assert servers.ask("older") == serving
    assert placed(servers, "older") == before
    assert servers.converge() == []


def test_an_application_goes_from_gunicorn_to_python_and_back(servers):
    before = servers.ask("older")
    by_itself = {**APPS["older"], "server": "python"}
    servers.code("older", PLAIN.format(port=port_of("older")))
    predicted = servers.converge("--check", older=by_itself)
    assert "remove /etc/systemd/system/older.socket" in predicted
    assert servers.converge(older=by_itself) == predicted
    assert servers.ask("older") != before
    assert "older.socket" not in placed(servers, "older").partition("active")[0]
    assert servers.converge(older=by_itself) == []
    servers.code("older", WSGI)
    predicted = servers.converge("--check")
    assert "listen on 0.0.0.0:9111 by older.socket" in predicted
    assert servers.converge() == predicted
    assert servers.ask("older") == before
    assert servers.converge() == []
