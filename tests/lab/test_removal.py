"""What is to be absent goes without a trace, unless something needs it, and stays away."""

from __future__ import annotations

import json

import pytest

from lab import fleet
from lab.fleet import PROJECT

pytestmark = pytest.mark.lab

NODE = "node2"
LOCK = PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
ENVIRONMENT = {
    "name": "tool",
    "lock": str(LOCK),
    "requirements": str(PROJECT / "inventory" / "lab" / "files" / "ob_cuda.requirements.txt"),
}
PRESENT = {"conda_env_list": [ENVIRONMENT], "gunicorn_app_list": []}
ENVIRONMENT_ABSENT = {
    "conda_env_list": [{"name": "tool", "state": "absent"}],
    "gunicorn_app_list": [],
}
ABSENT = {**ENVIRONMENT_ABSENT, "miniforge_state": "absent"}
# What every host writes as it runs, what says what was asked for, and a lock of the lab's installer.
NOT_OURS = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/lib/systemd"),
    *("/var/lib/gpunode", "/home", "/opt/.miniforge3.conda-ship.lock"),
)
_FIND = " ".join(
    ["sudo", "find", "/", "-xdev"]
    + [f"\\( -path {path} -prune \\) -o" for path in NOT_OURS]
    + ["-print"]
)


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    """Run site.yml on one node with other variables."""
    log = tmp_path_factory.mktemp("removal") / "ssh"

    def site(variables, *arguments):
        return fleet.site("--limit", NODE, "-e", json.dumps(variables), *arguments, log=log)

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
def converged(bare, site):
    """The node with Miniforge and an environment."""
    run = site(PRESENT)
    assert run.status == 0, run.messages()


@pytest.fixture(scope="module")
def removed(converged, site):
    """Check mode and the run that removes both."""
    return site(ABSENT, "--check"), site(ABSENT)


def test_an_environment_in_use_does_not_go_and_who_uses_it_is_named(converged, lab, site):
    prefix = lab.ssh(NODE, "readlink -f /opt/gpunode/envs/tool").stdout.strip()
    lab.ssh(NODE, f"sudo systemd-run -q --unit=living {prefix}/bin/python -m http.server 9100")
    try:
        run = site(ENVIRONMENT_ABSENT)
    finally:
        lab.ssh(NODE, "sudo systemctl stop living")
    assert run.status != 0
    assert "of living.service lives in " in run.messages()
    assert site(PRESENT).changed == {NODE: 0}


def test_miniforge_does_not_go_while_an_environment_is_wanted(converged, site):
    run = site({**PRESENT, "miniforge_state": "absent"})
    assert run.status != 0
    assert "environments are wanted that it makes and repairs: tool" in run.messages()


def test_the_removal_ends_well_and_says_what_check_mode_said(removed):
    predicted, real = removed
    assert real.status == 0, real.messages()
    assert predicted.status == 0, predicted.messages()
    assert set(predicted.changes(NODE)) == set(real.changes(NODE))
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
    "environment": (
        "sh -c 'mkdir -p /opt/gpunode/envs && ln -s / /opt/gpunode/envs/tool'",
        "/opt/gpunode/envs/tool is back",
        "remove /opt/gpunode/envs/tool",
    ),
    "Miniforge": ("mkdir /opt/miniforge3", "/opt/miniforge3 is back", "remove /opt/miniforge3"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_reappears_is_reported_and_removed(removed, lab, site, damage):
    command, said, change = DAMAGE[damage]
    assert lab.ssh(NODE, f"sudo {command}").returncode == 0
    run = site(ABSENT)
    assert run.status == 0, run.messages()
    assert said in run.messages()
    assert change in run.changes(NODE)
    assert site(ABSENT).changed == {NODE: 0}
