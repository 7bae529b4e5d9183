"""Secrets of every kind, and everything that is said or left where others can read it.

All of them hold MARK, which no command here holds itself: what a command says stands in logs, too.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import subprocess
import tarfile
import tempfile
import threading
import time

import pytest

from lab import mirror, paths
from lab.channel import explicit, local, public, toolbox
from lab.channel.local import interpreter
from lab.load import load
from system import playbooks

pytestmark = pytest.mark.lab

NODE, NAME, PORT = "node2", "secretive", 9400
MARK = "Unseen7-"
#: MARK as a pattern that does not match itself.
PATTERN = "[U]nseen7-"
SECRETS = {
    "TOKEN": f"{MARK}token",
    "KEY": f"-----\n{MARK}key\n-----",
    "ODD": f"back\\slash \"{MARK}odd\" and 'so' on",
}
WHEEL_SHA256 = "ec400d38950de4dfd418cff8328b2c8faed0edb0d517d3394e457c317908ca4d"
_SOLVE_S = 120
CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
# Says all it knows, in every way that programs have, and dies.
TALKATIVE = """\
import json, os
for name, value in os.environ.items():
    print(name, value)
print(os.environ)
print(json.dumps(dict(os.environ)))
raise RuntimeError(dict(os.environ))
app = None
"""
# What anybody can see of processes and units, again and again while something goes on.
_WATCH = """
while sleep 0.2; do
    cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ
    systemctl show --property=Environment,ExecStart gpunode-* {name}*
done 2>/dev/null | tr "\\\\0" "\\\\n" > /var/tmp/watched
"""
# For anybody, wherever files are; what is larger is no text. find has to be able to come back to
# where it began, and complains of nothing but of what keeps it from searching at all.
_READABLE = """
cd /
find {folders} -ignore_readdir_race -xdev -type d ! \\( -readable -executable \\) -prune \\
    -o -type f -readable -size -4M {among} -exec grep -lsE "{pattern}" {{}} + || true
"""


def spoken(playbook, *arguments):
    """Run a playbook as loudly as operators do and return (status, all that it says)."""
    done = subprocess.run(
        playbooks.command(playbook, "-vvv", "--diff", *arguments),
        cwd=playbooks.PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def told(text):
    """Return the lines of a text that tell a secret."""
    return [line for line in text.splitlines() if MARK in line]


@pytest.fixture(scope="module")
def node(lab):
    """A function that runs a shell command on a bare node as a user, and returns what it says."""
    lab.fresh(NODE)

    def run(command, user="root"):
        answer = lab.ssh(NODE, f"sudo -u {user} sh -c '{command}'", timeout_s=300)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    yield run
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A function that publishes an application's code; it returns source and sha256."""
    folder = tmp_path_factory.mktemp("archives")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()

        def publish(code):
            name = f"{len(list(folder.iterdir()))}.tar"
            (folder / "main.py").write_text(code)
            with tarfile.open(folder / name, "w") as tar:
                tar.add(folder / "main.py", "main.py")
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            source = f"http://reader:{MARK}source@127.0.0.1:{server.server_port}/{name}"
            return {"source": source, "sha256": digest}

        yield publish
        server.shutdown()


@pytest.fixture(scope="module")
def company(lab, tmp_path_factory):
    """The variables of a company whose mirror asks for passwords, and the mirror itself."""
    root, folder = tmp_path_factory.mktemp("mirror"), tmp_path_factory.mktemp("company")
    tools = toolbox.ensure(paths.ROOT)
    served = local.ensure(paths.ROOT, tools)
    pins, lock = folder / "pins.txt", folder / "env.lock"
    pins.write_text(f"gunicorn==23.0.0 --hash=sha256:{WHEEL_SHA256}\n")
    channel = (served / local.CLOUD / public.CHANNEL).as_uri()
    specs = [f"python={interpreter.running().minor}", "pip", "packaging"]
    found = toolbox.run(tools, "lab.channel.solve", {"channel": channel, "specs": specs}, _SOLVE_S)
    packages = [
        {**package, "url": public.CHANNEL_URL + package["url"].removeprefix(channel)}
        for package in found
    ]
    lock.write_text(explicit.text(packages, "md5", "what the public channel has"))
    mirror.furnish(root, served, mirror.wheels(pins))
    installer = local.installer_path(served)
    users = [f"reader:{MARK}{what}" for what in ("installer", "channel", "index", "mirror")]
    with mirror.running(lab.network.address, root, folder, users) as ours:

        def address(what):
            return ours.url.replace("://", f"://reader:{MARK}{what}@")

        yield {
            "miniforge_version": local.miniforge_version(installer),
            "miniforge_url": f"{address('installer')}/miniforge/{installer.name}",
            "miniforge_sha256": hashlib.sha256(installer.read_bytes()).hexdigest(),
            "miniforge_channels": [public.CHANNEL],
            "miniforge_default_channels": [],
            "miniforge_channel_alias": f"{address('channel')}/conda",
            "miniforge_pip_index_url": f"{address('index')}/pypi/simple",
            "miniforge_ca_source": str(ours.authority),
            "conda_env_mirrors": {
                public.CHANNEL_URL: f"{address('mirror')}/conda/{public.CHANNEL}"
            },
            "conda_env_list": [{"name": NAME, "lock": str(lock), "requirements": str(pins)}],
        }


@pytest.fixture(scope="module")
def asking(company, archives, tmp_path_factory):
    """A function that returns the arguments of a run that asks for an application's code."""
    path = tmp_path_factory.mktemp("asking") / "variables.json"

    def ask(code=CODE, **changes):
        app = {
            "name": NAME,
            "environment": NAME,
            **archives(code),
            "listen": f"0.0.0.0:{PORT}",
            "health_path": "/",
            "start_timeout_s": 20,
            **changes,
        }
        variables = {
            **company,
            "gunicorn_app_list": [app],
            "gunicorn_app_secrets": {NAME: SECRETS},
        }
        path.write_text(json.dumps(variables))
        return ("--limit", NODE, "-e", f"@{path}")

    return ask


@pytest.fixture(scope="module")
def began(node):
    """When the first of the runs began, in seconds since 1970."""
    return time.time()


@pytest.fixture(scope="module")
def planned(began, asking, tmp_path_factory):
    """What `make plan` says, and the plan that it writes."""
    written = tmp_path_factory.mktemp("plan") / "plan.json"
    status, text = spoken("playbooks/plan.yml", *asking(), "-e", f"preflight_json={written}")
    assert status == 0, text
    return text, written.read_text()


@pytest.fixture(scope="module")
def predicted(planned, asking):
    status, text = spoken("site.yml", "--check", *asking())
    assert status == 0, text
    return text


@pytest.fixture(scope="module")
def applied(predicted, node, asking):
    """What the run that sets all up says, while somebody on the host looks on."""
    watch = _WATCH.format(name=NAME)
    node(f'systemd-run --quiet --unit=watcher --uid=nobody sh -c "{watch}"')
    status, text = spoken("site.yml", *asking())
    node("systemctl stop watcher")
    assert status == 0, text
    return text


def test_the_plan_tells_no_secret(planned):
    text, document = planned
    assert f"{NODE}" in text
    assert told(text) == told(document) == []


def test_check_mode_tells_no_secret_while_it_shows_every_difference(predicted):
    assert f"/etc/systemd/system/{NAME}.service" in predicted
    assert told(predicted) == []


def test_the_run_tells_no_secret(applied):
    assert f"write /etc/gpunode/{NAME}.env" in applied
    assert told(applied) == []


def test_the_list_of_releases_tells_no_secret(applied, asking):
    status, text = spoken("playbooks/releases.yml", *asking())
    assert status == 0, text
    assert "in service" in text
    assert told(text) == []


def test_the_hosts_logs_hold_no_secret(applied, node):
    assert "gunicorn" in node("journalctl --no-pager --all")
    assert node(f'journalctl --no-pager --all | grep -E "{PATTERN}" || true') == ""
    assert node(f'grep -rlsE "{PATTERN}" /var/log || true') == ""


def test_nobody_on_the_host_saw_a_secret_pass_by(applied, node):
    seen = node("cat /var/tmp/watched")
    assert "conda" in seen
    assert told(seen) == []


def readable(node):
    """Return the files of the node that anybody can read and that hold a secret."""
    folders = "/ /run /tmp /dev/shm"
    return node(_READABLE.format(folders=folders, among="", pattern=PATTERN), "nobody").split()


def test_no_file_that_anybody_on_the_host_can_read_holds_a_secret(applied, node):
    assert readable(node) == []


def test_a_secret_in_the_open_would_be_found(applied, node):
    half = len(MARK) // 2
    node(f"printf %s%s {MARK[:half]} {MARK[half:]} > /var/tmp/open && chmod 644 /var/tmp/open")
    found = readable(node)
    node("rm /var/tmp/open")
    assert found == ["/var/tmp/open"]


def test_receipts_hold_no_secret(applied, node):
    assert node("ls /var/lib/gpunode/gunicorn_app.json") != ""
    assert node(f'grep -rlsE "{PATTERN}" /var/lib/gpunode || true') == ""


def readable_here(began):
    """Return the files of the controller since ``began`` that anybody can read, with a secret."""
    home = subprocess.run(["sh", "-c", "echo ~"], capture_output=True, text=True, check=True)
    folders = f"/tmp /var/tmp /dev/shm {home.stdout.strip()} {playbooks.PROJECT}"
    search = _READABLE.format(folders=folders, among=f"-newerct @{began}", pattern=PATTERN)
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    done = subprocess.run(
        [*nobody, "sh", "-c", search], capture_output=True, text=True, check=True, timeout=120
    )
    # What goes while it is looked at is read by nobody.
    gone = "No such file or directory"
    assert [line for line in done.stderr.splitlines() if not line.endswith(gone)] == []
    return done.stdout.split()


def test_nothing_that_others_can_read_on_the_controller_holds_a_secret(applied, began):
    assert readable_here(began) == []


def test_a_secret_in_the_open_on_the_controller_would_be_found(applied, began):
    with tempfile.NamedTemporaryFile("w", dir="/var/tmp") as unguarded:
        unguarded.write(f"{MARK}open")
        unguarded.flush()
        os.chmod(unguarded.name, 0o644)
        assert readable_here(began) == [unguarded.name]


def test_an_application_that_tells_its_environment_and_dies_tells_the_operator_no_secret(
    applied, asking, lab
):
    with load(lab.node(NODE).address, PORT, clients=1) as pressure:
        status, text = spoken("site.yml", *asking(TALKATIVE))
    assert status != 0
    assert pressure.lost == []
    assert set(pressure.answers) == {b"ok"}
    assert "RuntimeError" in text
    assert "********" in text
    assert told(text) == []


def test_an_archive_that_is_not_there_is_named_without_its_password(asking):
    gone = {"source": f"http://reader:{MARK}source@127.0.0.1:9/x.tar", "sha256": "0" * 64}
    status, text = spoken("playbooks/plan.yml", *asking(**gone))
    assert status != 0
    assert "127.0.0.1:9/x.tar" in text
    assert told(text) == []
