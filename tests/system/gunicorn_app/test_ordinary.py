"""Applications as people have them, on a real host: FastAPI, and Django set up for production.

Workers of uvicorn, benoitc/gunicorn#2154; a configuration of its own,
nickjj/docker-django-example#50; a factory with arguments and a src layout, apache/superset#9910;
ALLOWED_HOSTS and a redirect to https, freelawproject/courtlistener#2059 and
mdn/developer-portal#233; what activation sets, conda-forge/pytorch-cpu-feedstock#424 and
Anaconda-Platform/anaconda-project#349; a database and models in folders of data,
gramps-project/gramps-web-api#435; /proc/meminfo that is hidden, marcpope/borgbackupserver#485.
"""

from __future__ import annotations

import base64
import http.client
import json
import pathlib
import ssl
import subprocess

import pytest

from system import environments, playbooks
from system.playbooks import PROJECT

pytestmark = [pytest.mark.lab, pytest.mark.slow]

LOCK = PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
REQUIREMENTS = PROJECT / "tests" / "system" / "gunicorn_app" / "ordinary.requirements.txt"
# A factory, psutil, a model below /home, and what conda's activation sets.
API = """\
import os
import pathlib
import sqlite3

import psutil
from fastapi import FastAPI

def create_app(mode, debug=False):
    app = FastAPI(debug=debug)

    @app.get("/healthz")
    def health():
        with sqlite3.connect("/var/lib/api/api.sqlite3") as database:
            database.execute("create table if not exists visits (at text)")
            database.execute("insert into visits values ('now')")
        return {
            "mode": mode,
            "memory": psutil.virtual_memory().total,
            "model": pathlib.Path("/home/jane/models/model.txt").read_text(),
            "beside": os.path.exists("/home/jane/secret.txt"),
            "prefix": os.environ["CONDA_PREFIX"],
            "activated": [os.environ["SHOP_DATA"], os.environ["SHOP_MODE"]],
        }

    return app
"""
SETTINGS = """\
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["shop.example"]
ROOT_URLCONF = "shop.urls"
SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
"""
URLS = """\
import os
from django.http import JsonResponse
from django.urls import path
urlpatterns = [path("healthz/", lambda request: JsonResponse({"folder": os.getcwd()}))]
"""
WSGI = """\
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
"""
CONF = """\
bind = "0.0.0.0:8000"
workers = 3
timeout = 45
"""
HEADERS = {"Host": "shop.example", "X-Forwarded-Proto": "https"}
API_OPTIONS = {
    "name": "api", "listen": "0.0.0.0:9120", "entry": "api:create_app('production', debug=False)",
    "worker_class": "uvicorn_worker.UvicornWorker",
    "settings": {
        "max_requests": 1000, "certfile": "/etc/api/cert.pem", "keyfile": "/etc/api/key.pem",
    },
    "proc": True, "writable": ["/var/lib/api"], "readable": ["/home/jane/models"],
}  # fmt: skip
SHOP_OPTIONS = {
    "name": "shop", "listen": "0.0.0.0:9121", "entry": "shop.wsgi", "exclude": [".venv"],
    "environment_variables": {"PYTHONPATH": "src"}, "health_path": "/healthz/",
    "health_headers": HEADERS,
}  # fmt: skip
# As the package of a library does it.
ACTIVATE = "/opt/gpunode/envs/ordinary/etc/conda"


class Ordinary:
    """The two applications on node1."""

    def __init__(self, lab, folder):
        self._lab = lab
        self._folder = folder
        self.place("api/api.py", API)
        self.place("shop/src/shop/settings.py", SETTINGS)
        self.place("shop/src/shop/urls.py", URLS)
        self.place("shop/src/shop/wsgi.py", WSGI)
        self.place("shop/gunicorn.conf.py", CONF)
        (folder / "shop" / ".venv").mkdir()
        (folder / "shop" / ".venv" / "python").symlink_to("/usr/bin/python3")

    def place(self, path, text):
        """Write a file of the sources."""
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).write_text(text)

    def run(self, *apps, **arguments):
        """Run site.yml with these applications."""
        variables = {
            "conda_env_list": [
                {"name": "ordinary", "lock": str(LOCK), "requirements": str(REQUIREMENTS)}
            ],
            "gunicorn_app_list": [
                {
                    "environment": "ordinary",
                    "source": str(self._folder / app["name"]),
                    "start_timeout_s": 40,
                    **app,
                }
                for app in apps
            ],
        }
        return playbooks.site(
            "--limit", "node1", "-e", json.dumps(variables), *arguments.get("more", ()),
            log=self._folder / "ssh",
        )  # fmt: skip

    def root(self, command):
        """Return what a command says to root on the node."""
        answer = self._lab.ssh("node1", f"sudo sh -c '{command}'", timeout_s=60)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def certify(self):
        """Give the node a certificate that nobody vouches for, and its key."""
        paths = [str(self._folder / name) for name in ("key.pem", "cert.pem")]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", "/CN=api.example", "-keyout", paths[0], "-out", paths[1]],
            check=True, capture_output=True,
        )  # fmt: skip
        for path in map(pathlib.Path, paths):
            text = base64.b64encode(path.read_bytes()).decode()
            self.root(f"mkdir -p /etc/api; echo {text} | base64 -d > /etc/api/{path.name}")

    def ask(self, port, path, tls=False, **headers):
        """Return what an application says."""
        address = self._lab.node("node1").address
        connection = http.client.HTTPConnection(address, port, timeout=10)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(address, port, timeout=10, context=context)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def ordinary(lab, tmp_path_factory):
    environments.fresh(lab, "node1")
    found = Ordinary(lab, tmp_path_factory.mktemp("ordinary"))
    run = found.run()
    assert run.status == 0, run.messages()
    found.root(
        f"mkdir -p {ACTIVATE}/activate.d {ACTIVATE}/env_vars.d /home/jane/models; "
        f"echo export SHOP_DATA=here > {ACTIVATE}/activate.d/shop.sh; "
        f'echo \\{{\\"SHOP_MODE\\": \\"fast\\"\\}} > {ACTIVATE}/env_vars.d/shop.json; '
        "chmod 700 /home/jane; echo weights > /home/jane/models/model.txt; "
        "echo hush > /home/jane/secret.txt; chmod 644 /home/jane/secret.txt"
    )
    found.certify()
    yield found
    lab.fresh("node1")


def test_django_that_knows_its_hosts_is_told_apart_from_one_that_is_broken(ordinary):
    options = {key: value for key, value in SHOP_OPTIONS.items() if key != "health_headers"}
    run = ordinary.run({**options, "start_timeout_s": 120})
    assert run.status != 0
    assert "answered 400: it may not serve the host localhost" in run.messages()
    run = ordinary.run({**options, "health_headers": {"Host": "shop.example"}})
    assert "say health_headers: {X-Forwarded-Proto: https}" in run.messages()


def test_ordinary_applications_answer_and_a_second_run_changes_nothing(ordinary):
    run = ordinary.run(API_OPTIONS, SHOP_OPTIONS)
    assert run.status == 0, run.messages()
    assert (
        "bind 0.0.0.0:8000 of gunicorn.conf.py is overruled by listen: 0.0.0.0:9121"
        in run.messages()
    )
    said = ordinary.ask(9120, "/healthz", tls=True)
    assert (said["mode"], said["model"], said["beside"]) == ("production", "weights\n", False)
    assert (said["activated"], said["memory"] > 0) == (["here", "fast"], True)
    assert said["prefix"].startswith("/opt/gpunode/envs/ordinary-")
    assert ordinary.root("stat -c %U:%a /var/lib/api") == "api:700"
    said = ordinary.ask(9121, "/healthz/", **HEADERS)
    assert said["folder"].startswith("/srv/shop/releases/")
    main = ordinary.root("systemctl show --value --property=MainPID shop.service")
    assert len(ordinary.root(f"pgrep --parent {main}").split()) == 3
    assert ordinary.root("ls -A /srv/shop/current/") == "gunicorn.conf.py\nsrc"
    again = ordinary.run(API_OPTIONS, SHOP_OPTIONS)
    assert (again.status, again.changes("node1")) == (0, []), again.messages()


def test_data_stays_when_its_application_goes(ordinary):
    run = ordinary.run({"name": "api", "state": "absent"}, SHOP_OPTIONS)
    assert run.status == 0, run.messages()
    assert ordinary.root("ls /var/lib/api") == "api.sqlite3"
