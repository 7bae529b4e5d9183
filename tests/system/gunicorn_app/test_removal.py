"""Applications that are to go leave a host as it was before they came."""

from __future__ import annotations

import json

import pytest

from lab import ssh
from system import environments, playbooks
from system.gunicorn_app.demo import CODE, Demo

pytestmark = pytest.mark.lab

# Everything but what the application has no part in: receipts, the lock, logs, caches, and what
# systemd and Debian keep about accounts and units besides.
TRACES = " ; ".join(
    (
        "find / -xdev "
        + " ".join(
            f"-path {path} -prune -o"
            for path in (
                "/proc", "/sys", "/tmp", "/var/log", "/var/lib/gpunode", "/var/cache",
                "/var/lib/systemd", f"/home/{ssh.USER}/.ansible",
            )
        )
        + " -not -name \"*-\" -not -name \"*.pyc\" -not -name __pycache__ -print",
        "find /run/systemd/system /run/gpunode* /run/demo* /etc/systemd/system.control "
        "-not -path /run/gpunode.lock 2>/dev/null",
        "cut -d: -f1 /etc/passwd /etc/group",
        "systemctl list-units --all --plain --no-legend \"demo*\" | cut -d\" \" -f1",
    )
)  # fmt: skip


# A server on the unix socket that its own folder is for.
BY_ITSELF = """\
import os, socketserver
from http.server import BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
path = os.path.join(os.environ["RUNTIME_DIRECTORY"], "http.sock")
socketserver.UnixStreamServer(path, Handler).serve_forever()
"""


def traces(demo):
    """Return what is on the node, as a set of lines."""
    return set(demo.root(TRACES).splitlines())


@pytest.fixture
def demo(lab, tmp_path):
    environments.fresh(lab, "node1")
    found = Demo(lab, tmp_path)
    # On the way there lie folders that nobody has made yet.
    found.options["dir"] = "/srv/company/demo"
    found.secrets = {"TOKEN": "x"}
    yield found
    lab.fresh("node1")


def without_applications(log):
    """Run site.yml with an inventory that has no application."""
    nothing = json.dumps({"gunicorn_app_list": []})
    return playbooks.site("--limit", "node1", "-e", nothing, log=log)


def test_an_application_that_is_to_go_leaves_nothing_and_what_is_not_ours_stays(demo, tmp_path):
    assert without_applications(tmp_path / "ssh").status == 0
    before = traces(demo)
    demo.converge()
    first = demo.ask()["release"]
    placed = traces(demo) - before
    assert {first, "/etc/gpunode/demo.env", "demo.service", "demo"} < placed

    # What merely vanished from the inventory stays, and is named.
    forgotten = without_applications(tmp_path / "ssh")
    assert (forgotten.status, forgotten.changes("node1")) == (0, [])
    assert "gunicorn_app demo: on the host, and not in the inventory any" in forgotten.messages()
    assert demo.ask()["release"] == first

    demo.secrets = {}
    gone = {"name": "demo", "dir": demo.options["dir"], "state": "absent"}
    # Something else works in a release: nothing is taken from under it.
    demo.root(f"systemd-run --quiet --unit=visitor --working-directory={first} sleep 300")
    refused = refused_while_it_serves(demo, gone)
    assert f"of visitor.service uses {first}" in refused
    assert traces(demo) >= placed
    demo.root("systemctl stop visitor")

    # What is not said of it would be left.
    refused = refused_while_it_serves(demo, {"name": "demo", "state": "absent"})
    assert "it was set up with dir: /srv/company/demo, not with dir: /srv/demo" in refused
    assert traces(demo) >= placed

    demo.options = gone
    predicted = demo.converge("--check")
    assert demo.converge() == predicted
    assert "remove user demo" in predicted
    assert traces(demo) == before
    assert demo.converge() == []

    # What comes back is reported and removed again.
    unit = "/etc/systemd/system/demo.service"
    folder = f"{gone['dir']}/releases"
    demo.root(f'mkdir -p {folder} && echo "# Written by gpunode" > {unit}')
    assert demo.converge("--check") == demo.converge() != []
    # By hand, folders are made for other things, too.
    demo.root("rmdir /srv/company")
    assert traces(demo) == before


def refused_while_it_serves(demo, item):
    """Ask for another item, see that it is refused while nobody who asks notices; what is said."""
    serving = demo.options
    with demo.polled() as pressure:
        demo.options = item
        run = demo.run()
    demo.options = serving
    assert run.status != 0
    assert pressure.lost == []
    assert set(pressure.answers) == {demo.ask()["release"].encode()}
    return run.messages()


@pytest.mark.slow
def test_a_unix_socket_goes_with_the_address_and_with_the_application(demo, tmp_path):
    assert without_applications(tmp_path / "ssh").status == 0
    before = traces(demo)
    demo.secrets = {}
    demo.options["listen"] = "/run/demo/earlier.sock"
    demo.converge()
    assert "/run/demo/earlier.sock" in traces(demo)

    demo.code(BY_ITSELF)
    demo.options |= {"server": "python", "listen": "/run/gpunode-demo/http.sock"}
    predicted = demo.converge("--check")
    assert "remove /run/demo/earlier.sock" in predicted
    assert demo.converge() == predicted
    assert "/run/gpunode-demo/http.sock" in traces(demo)
    assert "/run/demo" not in traces(demo)
    assert demo.converge() == []

    demo.code(CODE)
    demo.options |= {"server": "gunicorn", "listen": "/run/demo/http.sock"}
    demo.converge()
    demo.options = {"name": "demo", "dir": demo.options["dir"], "state": "absent"}
    predicted = demo.converge("--check")
    assert "remove /run/demo/http.sock" in predicted
    assert demo.converge() == predicted
    assert traces(demo) == before


@pytest.mark.slow
def test_an_address_goes_over_from_an_application_to_another_in_one_run(demo, tmp_path):
    demo.secrets = {}
    demo.converge()
    heir = {**demo.options, "name": "heir", "dir": "/srv/heir"}
    gone = {"name": "demo", "dir": demo.options["dir"], "state": "absent"}
    both = ("--limit", "node1", "-e", json.dumps({"gunicorn_app_list": [gone, heir]}))
    predicted = playbooks.site(*both, "--check", log=tmp_path / "ssh")
    assert predicted.status == 0, predicted.messages()
    run = playbooks.site(*both, log=tmp_path / "ssh")
    assert run.status == 0, run.messages()
    assert run.changes("node1") == predicted.changes("node1")
    assert demo.ask()["release"].startswith("/srv/heir/")
