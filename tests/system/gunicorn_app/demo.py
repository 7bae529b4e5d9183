"""One application on a node of the lab, which tests change and break."""

from __future__ import annotations

import http.client
import json

from lab.load import load
from system import playbooks

CODE = """\
import os
from flask import Flask, jsonify
app = Flask(__name__)
@app.get("/healthz")
def health():
    return jsonify({**os.environ, "release": os.getcwd()})
@app.get("/release")
def release():
    return os.getcwd()
"""


class Demo:
    """An application that answers with what it runs on; tests change it.

    :ivar options: its item of ``gunicorn_app_list``.
    :ivar secrets: its secrets.
    """

    def __init__(self, lab, folder, node="node1"):
        """:param folder: a new folder for the application's files."""
        self.lab = lab
        self.node = node
        self.address = lab.node(node).address
        self._source = folder / "source"
        self._source.mkdir()
        self._log = folder / "ssh"
        self.options = {
            "name": "demo", "environment": "ob_cuda", "source": str(self._source),
            "listen": "0.0.0.0:9100", "dir": "/home/demo/code", "start_timeout_s": 20,
        }  # fmt: skip
        self.secrets = {}
        self.code(CODE)

    def code(self, text):
        """Make ``text`` the application's main.py."""
        (self._source / "main.py").write_text(text)

    def variables(self):
        """Return the extra variables that ask for it, as text."""
        return json.dumps(
            {
                "gunicorn_app_list": [self.options],
                "gunicorn_app_secrets": {"demo": self.secrets},
            }
        )

    def run(self, *arguments):
        """Run site.yml on the node and return the Run, however it ended."""
        return playbooks.site(
            "--limit", self.node, "-e", self.variables(), *arguments, log=self._log
        )

    def converge(self, *arguments):
        """Run site.yml and return what it changed."""
        run = self.run(*arguments)
        assert run.status == 0, run.messages()
        return run.changes(self.node)

    def root(self, command):
        """Run a shell command on the node as root and return what it says."""
        answer = self.lab.ssh(self.node, f"sudo sh -c '{command}'", timeout_s=60)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def ask(self):
        """Return what the application says of itself."""
        connection = http.client.HTTPConnection(self.address, self.port(), timeout=10)
        connection.request("GET", "/healthz")
        return json.load(connection.getresponse())

    def releases(self):
        """Return the ids of the releases on the node, and what else lies among them."""
        return set(self.root(f"ls -A {self.options['dir']}/releases").split())

    def polled(self):
        """Ask for its release all the time during a ``with`` block; see :func:`lab.load.load`."""
        return load(self.address, self.port(), "/release", clients=1, pause_s=0.02)

    def main_process(self):
        """Return the id of the main process that serves."""
        return self.root("systemctl show --value --property=MainPID demo.service")

    def workers(self):
        """Return the ids of its workers."""
        return set(self.root(f"pgrep --parent {self.main_process()}").split())

    def port(self):
        """Return the port that it listens on."""
        return int(self.options["listen"].rpartition(":")[2])
