"""What is to be absent goes without a trace, unless something needs it, and stays away."""

from __future__ import annotations

import json

import pytest

from lab.load import load
from system import playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

NODE = "node2"
LOCK = PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
REQUIREMENTS = (
    "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"
)
CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
PORT = 9100
NOTHING = {"conda_env_list": [], "gunicorn_app_list": []}
ENVIRONMENT_ABSENT = {**NOTHING, "conda_env_list": [{"name": "tool", "state": "absent"}]}
ABSENT = {
    **ENVIRONMENT_ABSENT,
    "gunicorn_app_list": [{"name": "serving", "state": "absent"}],
    "miniforge_state": "absent",
}
# What every host writes as it runs, what says what was asked for, the code that looks at the host,
# a lock of the lab's installer.
NOT_OURS = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/lib/systemd"),
    *("/var/lib/gpunode", "/var/cache/gpunode", "/home", "/opt/.miniforge3.conda-ship.lock"),
)
_FIND = " ".join(
    ["sudo", "find", "/", "-xdev"]
    + [f"\\( -path {path} -prune \\) -o" for path in NOT_OURS]
    # The accounts as they were before the last change.
    + ["-not", "-path", "'/etc/*-'", "-print"]
)


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    """Run site.yml on one node with other variables."""
    log = tmp_path_factory.mktemp("removal") / "ssh"

    def site(variables, *arguments):
        return playbooks.site("--limit", NODE, "-e", json.dumps(variables), *arguments, log=log)

    return site


@pytest.fixture(scope="module")
def tree(lab):
    """Return a function that lists all paths on the node."""

    def tree():
        listing = lab.ssh(NODE, _FIND, timeout_s=120)
        assert listing.returncode == 0, listing.stderr
        return set(listing.stdout.splitlines())

    return tree


@pytest.fixture(scope="module")
def bare(lab, tree):
    """What is on the node before anything was set up there."""
    lab.fresh(NODE)
    yield tree()
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def present(tmp_path_factory):
    """The variables for one environment, made with conda and pip, and what is served from it."""
    requirements = tmp_path_factory.mktemp("removal") / "requirements"
    requirements.write_text(REQUIREMENTS)
    source = tmp_path_factory.mktemp("serving")
    (source / "main.py").write_text(CODE)
    item = {"name": "tool", "lock": str(LOCK), "requirements": str(requirements)}
    app = {
        "name": "serving",
        "environment": "tool",
        "source": str(source),
        "listen": f"0.0.0.0:{PORT}",
        "health_path": "/",
    }
    return {"conda_env_list": [item], "gunicorn_app_list": [app]}


@pytest.fixture(scope="module")
def converged(bare, present, site):
    """The node with Miniforge, an environment and an application, by the run after a killed one."""
    playbooks.site_killed_at(
        "Bring Miniforge to its wanted state", 1.0, "--limit", NODE, "-e", json.dumps(present)
    )
    run = site(present)
    assert run.status == 0, run.messages()


@pytest.fixture(scope="module")
def removed(converged, site):
    """Check mode and the run that removes everything."""
    return site(ABSENT, "--check"), site(ABSENT)


@pytest.fixture
def polled(converged, lab):
    """Ask the application all the time, and demand at the end that it has always answered."""
    with load(lab.node(NODE).address, PORT, clients=1) as pressure:
        yield
    assert pressure.lost == []
    assert set(pressure.answers) == {b"ok"}


def test_a_run_that_is_killed_while_miniforge_installs_is_brought_to_its_end_by_the_next_one(
    converged, present, site
):
    assert site(present).changed == {NODE: 0}


def test_an_environment_in_use_does_not_go_and_who_uses_it_is_named(polled, present, lab, site):
    prefix = lab.ssh(NODE, "readlink -f /opt/gpunode/envs/tool").stdout.strip()
    run = site(ENVIRONMENT_ABSENT)
    assert run.status != 0
    assert f"of serving.service lives in {prefix}" in run.messages()
    assert site(present).changed == {NODE: 0}


def test_miniforge_does_not_go_while_an_environment_is_wanted(polled, present, site):
    run = site({**present, "miniforge_state": "absent"})
    assert run.status != 0
    assert "environments are wanted that it makes and repairs: tool" in run.messages()


def test_what_vanished_from_the_inventory_stays_and_is_named(polled, present, site):
    run = site(NOTHING)
    assert (run.status, run.changes(NODE)) == (0, []), run.messages()
    for name in ("miniforge /opt/miniforge3", "conda_env tool", "gunicorn_app serving"):
        assert f"{name}: on the host, and not in the inventory any" in run.messages()
    assert site(present).changed == {NODE: 0}


def test_the_removal_ends_well_and_says_what_check_mode_said(removed):
    predicted, real = removed
    assert real.status == 0, real.messages()
    assert predicted.status == 0, predicted.messages()
    assert predicted.changes(NODE) == real.changes(NODE)
    assert "remove user serving" in real.changes(NODE)
    assert "remove /opt/gpunode/envs/tool" in real.changes(NODE)
    assert "remove /opt/miniforge3" in real.changes(NODE)


def test_nothing_is_left(removed, bare, tree):
    assert tree() - bare == set()
    assert bare - tree() == set()


def test_what_is_gone_stays_gone_and_costs_no_further_run(removed, site):
    again = site(ABSENT)
    assert (again.status, again.changed) == (0, {NODE: 0}), again.messages()


# Each puts back something that is to be absent.
DAMAGE = {
    "/opt/gpunode/envs/tool": "mkdir -p /opt/gpunode/envs && ln -s / /opt/gpunode/envs/tool",
    "/opt/miniforge3": "mkdir /opt/miniforge3",
}


def test_what_reappears_is_reported_and_removed(removed, lab, site):
    for command in DAMAGE.values():
        assert lab.ssh(NODE, f"sudo sh -c '{command}'").returncode == 0
    run = site(ABSENT)
    assert run.status == 0, run.messages()
    for path in DAMAGE:
        assert f"{path} is back" in run.messages()
        assert f"remove {path}" in run.changes(NODE)
    assert site(ABSENT).changed == {NODE: 0}
