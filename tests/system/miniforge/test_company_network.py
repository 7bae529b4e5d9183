"""A host that reaches a proxy and nothing else: all it needs comes from a mirror behind that."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

from lab import mirror, network, paths, proxy
from lab.channel import ENVIRONMENT, explicit, local, public, toolbox
from lab.channel.local import interpreter
from lab.command import run
from lab.load import load
from system import playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

NODE = "node2"
REQUIREMENTS = PROJECT / "inventory" / "lab" / "files" / "ob_cuda.requirements.txt"
_SOLVE_S = 120
_START_S = 20
# Of a network that is reserved for documentation.
OUTSIDE, OUTSIDE_PORT = "198.51.100.2", 8000
_CONNECT = """
import socket
socket.create_connection(("{address}", {port}), timeout=5).close()
"""
# The files in which an ordinary user finds a text; code and archives of packages left out.
_READABLE = """
find /etc /home /opt /run /srv /tmp /var -xdev -type f -readable -size -1M \
    -not -path "*/pkgs/*" -not -path "*/lib/python3*" -exec grep -lsF {text} {{}} +
"""


@pytest.fixture(scope="module")
def served():
    """The folder of a channel and an installer of our own."""
    return local.ensure(paths.ROOT, toolbox.ensure(paths.ROOT))


@pytest.fixture(scope="module")
def company(lab, served, tmp_path_factory):
    """The company's mirror."""
    root = tmp_path_factory.mktemp("mirror")
    mirror.furnish(root, served, mirror.wheels(REQUIREMENTS))
    with mirror.running(lab.network.address, root, tmp_path_factory.mktemp("authority")) as ours:
        yield ours


@pytest.fixture(scope="module")
def packages(served):
    """The packages of an environment, with the addresses that the public channel has for them."""
    channel = (served / local.CLOUD / public.CHANNEL).as_uri()
    specs = [f"python={interpreter.running().minor}", *ENVIRONMENT]
    arguments = {"channel": channel, "specs": specs}
    found = toolbox.run(toolbox.ensure(paths.ROOT), "lab.channel.solve", arguments, _SOLVE_S)
    return [
        {**package, "url": public.CHANNEL_URL + package["url"].removeprefix(channel)}
        for package in found
    ]


@pytest.fixture(scope="module")
def way_out(lab):
    """The proxy, without which nothing works; gives what returns its log's lines so far."""
    log = proxy.log(lab.paths.state)
    log.unlink(missing_ok=True)
    proxy.ensure(lab.network.address, lab.paths.state)

    def lines():
        return log.read_text().splitlines()

    yield lines
    proxy.stop(lab.paths.state)


@pytest.fixture(scope="module")
def confined(lab, way_out):
    """A bare host without another way out, and without the lab's own pip settings."""
    lab.fresh(NODE)
    assert lab.ssh(NODE, "sudo rm /etc/pip.conf").returncode == 0
    with lab.confined(NODE, proxy.PORT):
        yield lab.node(NODE)
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def variables(lab, company, packages, served, tmp_path_factory):
    """Write what the company's inventory says to a file; ``password`` is that for the proxy."""
    folder = tmp_path_factory.mktemp("variables")
    lock = folder / "ob_cuda.lock"
    lock.write_text(explicit.text(packages, "md5", "what the public channel has"))
    installer = local.installer_path(served)

    def write(password=proxy.PASSWORD):
        way = proxy.url(lab.network.address, password)
        path = folder / "variables.json"
        said = {
            "miniforge_version": local.miniforge_version(installer),
            "miniforge_url": f"{company.url}/miniforge/{installer.name}",
            "miniforge_sha256": hashlib.sha256(installer.read_bytes()).hexdigest(),
            "miniforge_channels": [public.CHANNEL],
            "miniforge_default_channels": [],
            "miniforge_channel_alias": f"{company.url}/conda",
            "miniforge_pip_index_url": f"{company.url}/pypi/simple",
            "miniforge_proxy": {"http": way, "https": way},
            "miniforge_ca_source": str(company.authority),
            "conda_env_mirrors": {public.CHANNEL_URL: f"{company.url}/conda/{public.CHANNEL}"},
            "conda_env_list": [
                {"name": "ob_cuda", "lock": str(lock), "requirements": str(REQUIREMENTS)}
            ],
        }
        path.write_text(json.dumps(said))
        return ("--limit", NODE, "-e", f"@{path}")

    return write


@pytest.fixture(scope="module")
def wordy(confined, variables):
    """All that check mode says about the bare host when it is asked for everything."""
    done = subprocess.run(
        playbooks.command("site.yml", "--check", "--diff", "-vvv", *variables()),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(wordy, variables, tmp_path_factory):
    """The run that sets up the host."""
    log = tmp_path_factory.mktemp("company") / "ssh"
    return playbooks.site("--diff", *variables(), log=log)


@contextlib.contextmanager
def someone_outside():
    """Run a server beyond this machine, which any node reaches through it."""
    name = f"gpunode-{os.getpid()}"
    run(["ip", "netns", "add", name])
    try:
        run(["ip", "link", "add", name, "type", "veth", "peer", "name", "outside", "netns", name])
        run(["ip", "address", "add", "198.51.100.1/30", "dev", name])
        run(["ip", "link", "set", name, "up"])
        within = ["ip", "netns", "exec", name]
        run([*within, "ip", "address", "add", f"{OUTSIDE}/30", "dev", "outside"])
        run([*within, "ip", "link", "set", "outside", "up"])
        argv = [*within, sys.executable, "-m", "http.server", "--bind", OUTSIDE, str(OUTSIDE_PORT)]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as server:
            try:
                yield
            finally:
                server.terminate()
    finally:
        run(["ip", "netns", "delete", name])


def reaches(lab, address, port):
    """Say whether a node can open a connection."""
    program = _CONNECT.format(address=address, port=port)
    return lab.ssh(NODE, f"python3 -c '{program}'").returncode == 0


def led(node, way_out):
    """Return where the proxy has led a node so far."""
    mine = [line for line in way_out() if f" {node.address}:" in line]
    # What it refuses, as without the password, leads nowhere.
    return {line.split(" - ")[3] for line in mine} - {"CONNECT None:None"}


def shown_password(text):
    """Return the lines of a text in which the proxy's password stands."""
    return [line for line in text.splitlines() if proxy.PASSWORD in line]


def test_a_confined_node_reaches_the_proxy_alone_and_a_freed_one_all(lab, company, way_out):
    places = {
        "mirror": (lab.network.address, mirror.PORT),
        "outside": (OUTSIDE, OUTSIDE_PORT),
        "proxy": (lab.network.address, proxy.PORT),
    }
    with someone_outside():
        deadline = time.monotonic() + _START_S
        while not reaches(lab, *places["outside"]) and time.monotonic() < deadline:
            time.sleep(0.1)
        free = {name: reaches(lab, *place) for name, place in places.items()}
        with lab.confined(NODE, proxy.PORT):
            confined = {name: reaches(lab, *place) for name, place in places.items()}
        again = {name: reaches(lab, *place) for name, place in places.items()}
    assert free == again == {"mirror": True, "outside": True, "proxy": True}
    assert confined == {"mirror": False, "outside": False, "proxy": True}


def test_a_node_that_a_killed_test_confined_is_freed_by_the_next_up(lab, company):
    network.confine(lab.network, lab.node(NODE).address, proxy.PORT)
    lab.up()
    assert reaches(lab, lab.network.address, mirror.PORT)


def test_check_mode_needs_none_of_it_and_hides_the_password(wordy):
    status, text = wordy
    assert status == 0, text
    assert "install Miniforge" in text
    assert shown_password(text) == []


def test_the_application_answers(site, confined):
    assert site.status == 0, site.messages()
    with urllib.request.urlopen(f"http://{confined.address}:9001/", timeout=10) as answer:
        assert answer.read() == b"ob cuda server online!"


def test_a_proxy_that_refuses_is_named_without_its_password_and_what_serves_goes_on(
    site, confined, variables, lab, tmp_path
):
    elsewhere = ("-e", json.dumps({"miniforge_prefix": "/opt/elsewhere"}))
    with load(confined.address, 9001, clients=1) as pressure:
        run = playbooks.site(*variables("wrong-and-secret"), *elsewhere, log=tmp_path / "ssh")
    assert run.status != 0
    assert "407" in run.messages()
    assert "the proxy and CA bundle on the way" in run.messages()
    assert "wrong-and-secret" not in run.text
    assert lab.ssh(NODE, "test -e /opt/elsewhere").returncode == 1
    assert pressure.lost == []
    assert set(pressure.answers) == {b"ob cuda server online!"}


def test_the_run_hides_the_password(site):
    assert shown_password(site.text) == []


def test_the_mirror_gave_installer_packages_and_wheels(site, company, packages, served):
    asked = set(company.requests)
    channel = f"/conda/{public.CHANNEL}"
    wheels = [wheel.name for wheel in mirror.wheels(REQUIREMENTS).glob("*.whl")]
    assert f"/miniforge/{local.installer_path(served).name}" in asked
    assert {
        channel + package["url"].removeprefix(public.CHANNEL_URL) for package in packages
    } <= asked
    assert wheels
    assert {path.rpartition("/")[2] for path in asked if path.endswith(".whl")} == set(wheels)


def test_the_proxy_led_the_host_to_the_mirror_and_nowhere_else(site, confined, company, way_out):
    assert led(confined, way_out) == {f"CONNECT {company.url.removeprefix('https://')}"}


def test_the_host_still_reaches_the_mirror_by_the_proxy_alone(site, lab):
    assert reaches(lab, lab.network.address, proxy.PORT)
    assert not reaches(lab, lab.network.address, mirror.PORT)


@pytest.fixture(scope="module")
def solved(site, variables, lab, tmp_path_factory):
    """The run that solves a spec on the host, where its inventory lies, and what it asked for."""
    folder = tmp_path_factory.mktemp("inventory")
    shutil.copy(lab.paths.inventory, folder / "hosts.yml")
    item = {"name": "solved", "packages": ["python=3", "pip", "flask=3.1"], "pip": ["numpy"]}
    wanted = ("-e", json.dumps({"conda_env_list": [item]}))
    log = folder.with_name("ssh")
    return playbooks.run("playbooks/lock.yml", "-i", folder, *variables(), *wanted, log=log), folder


def test_an_environment_is_solved_from_the_mirror_alone(solved, company, confined, way_out):
    run, folder = solved
    assert run.status == 0, run.messages()
    assert shown_password(run.text) == []
    lock = (folder / "files" / "solved.lock").read_text()
    requirements = (folder / "files" / "solved.requirements.txt").read_text()
    # The address that the channel's name stands for on this host.
    assert f"{company.url}/conda/{public.CHANNEL}/noarch/flask-3.1" in lock
    assert "numpy==" in requirements
    assert shown_password(lock + requirements) == []
    assert led(confined, way_out) == {f"CONNECT {company.url.removeprefix('https://')}"}


def test_nobody_but_root_reads_the_password_on_the_host(site, lab):
    log = lab.ssh(NODE, "sudo journalctl --no-pager --output=export", timeout_s=300).stdout
    assert log
    assert shown_password(log) == []
    assert proxy.PASSWORD in lab.ssh(NODE, "sudo cat /opt/miniforge3/.condarc").stdout
    found = lab.ssh(NODE, _READABLE.format(text=proxy.PASSWORD), timeout_s=300)
    assert found.stdout == ""


def test_people_find_packages_by_name_on_the_mirror(site, lab, company):
    before = len(company.requests)
    found = lab.ssh(NODE, "sudo /opt/miniforge3/bin/conda search flask", timeout_s=120)
    assert "3.1.3" in found.stdout, found.stderr
    assert any("repodata" in path for path in company.requests[before:])


def test_a_second_run_changes_nothing(site, variables, tmp_path):
    again = playbooks.site(*variables(), log=tmp_path / "ssh")
    assert (again.status, again.changed) == (0, {NODE: 0}), again.messages()
