"""Environments beside the default one: other kinds of lock, and builds that something lives in."""

from __future__ import annotations

import json

import pytest

from system import environments, playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

LOCKS = PROJECT / "inventory" / "lab" / "generated"
NODE = "node1"


@pytest.fixture(scope="module")
def converge(lab, tmp_path_factory):
    """Run site.yml on one node with one environment of the given lock, and no application."""
    environments.fresh(lab, NODE)
    log = tmp_path_factory.mktemp("environments") / "ssh"

    def attempt(name, lock, **options):
        variables = {
            "conda_env_list": [{"name": name, "lock": str(lock)}],
            "gunicorn_app_list": [],
            **options,
        }
        arguments = ("--limit", NODE, "-e", json.dumps(variables))
        return playbooks.site(*arguments, log=log)

    yield attempt
    lab.fresh(NODE)


def without(lock, *names):
    """Return the text of a lock without some of its packages."""
    lines = lock.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not any(f"/{name}-" in line for name in names))


def prefixes(lab, name):
    """Return the builds of an environment that lie on the node."""
    return set(lab.ssh(NODE, f"ls -d /opt/gpunode/envs/{name}-*").stdout.split())


def current(lab, name):
    """Return the build that an environment's link points to."""
    return lab.ssh(NODE, f"readlink -f /opt/gpunode/envs/{name}").stdout.strip()


def test_a_lock_with_sha256_builds_what_it_says(lab, converge):
    run = converge("hashed", LOCKS / "ob_cuda.sha256.lock")
    assert run.status == 0, run.messages()
    assert lab.ssh(NODE, "/opt/gpunode/envs/hashed/bin/gunicorn --version").returncode == 0


def test_a_package_with_another_sha256_is_named_and_nothing_is_built(lab, converge, tmp_path):
    text = (LOCKS / "ob_cuda.sha256.lock").read_text()
    flask = next(line for line in text.splitlines() if "/flask-" in line)
    lock = tmp_path / "wrong.lock"
    lock.write_text(text.replace(flask.split("#")[1], "sha256:" + "0" * 64))
    run = converge("wrong", lock)
    assert run.status != 0
    assert "flask" in run.messages()
    assert "0" * 64 in run.messages()
    assert prefixes(lab, "wrong") == set()


def test_a_build_that_a_process_lives_in_stays_until_the_process_is_gone(lab, converge, tmp_path):
    lock = LOCKS / "ob_cuda.lock"
    assert converge("tool", lock, conda_env_keep=0).status == 0
    first = current(lab, "tool")
    lab.ssh(NODE, f"sudo systemd-run -q --unit=living {first}/bin/python -m http.server 9100")

    second_lock = tmp_path / "second.lock"
    second_lock.write_text(without(lock, "flask"))
    assert converge("tool", second_lock, conda_env_keep=0).status == 0
    second = current(lab, "tool")
    assert prefixes(lab, "tool") == {first, second}
    assert lab.ssh(NODE, "systemctl is-active living").stdout.strip() == "active"

    lab.ssh(NODE, "sudo systemctl stop living")
    third_lock = tmp_path / "third.lock"
    third_lock.write_text(without(lock, "flask", "click"))
    assert converge("tool", third_lock, conda_env_keep=0).status == 0
    assert prefixes(lab, "tool") == {current(lab, "tool")}
