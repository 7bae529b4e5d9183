"""The application of the example inventory on a lab node, from a lab environment."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
import yaml

from system import environments, playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

LAB = PROJECT / "inventory" / "lab"


@pytest.fixture(scope="module")
def example():
    """The variables of the example, its environment made from the lab's lock."""
    text = (PROJECT / "inventory" / "example" / "group_vars" / "all.yml").read_text()
    applications = yaml.safe_load(text)["gunicorn_app_list"]
    environment = {
        "name": "ob_prod",
        "lock": str(LAB / "generated" / "ob_cuda.lock"),
        "requirements": str(LAB / "files" / "ob_cuda.requirements.txt"),
    }
    return {"conda_env_list": [environment], "gunicorn_app_list": applications}


@pytest.fixture(scope="module")
def node(lab, example, tmp_path_factory):
    """A node with Miniforge on which the example was set up; a fresh one afterwards."""
    log = tmp_path_factory.mktemp("example") / "ssh"
    environments.fresh(lab, "node1")
    run = playbooks.site("--limit", "node1", "-e", json.dumps(example), log=log)
    assert run.status == 0, run.messages()
    yield lab.node("node1")
    lab.fresh("node1")


def root(lab, command):
    answer = lab.ssh("node1", f"sudo sh -c '{command}'", timeout_s=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_it_serves_from_the_home_of_its_user(node):
    with urllib.request.urlopen(f"http://{node.address}:9001/healthz", timeout=10) as answer:
        found = json.load(answer)
    assert found["release"].startswith("/home/ob/ob_cuda_server/releases/")
    assert found["prefix"].startswith("/opt/gpunode/envs/ob_prod-")


def test_eight_workers_serve_as_its_user(node, lab):
    rows = root(lab, "ps -o user=,ppid= -C python | sort | uniq -c").split("\n")
    assert any(re.fullmatch(r"\s*8 ob\s+[0-9]+", row) for row in rows), rows


def test_systemd_finds_its_units_good(node, lab):
    root(lab, "systemd-analyze verify --man=no /etc/systemd/system/ob_cuda.*")
    report = root(lab, "systemd-analyze security --no-pager ob_cuda.service")
    assert float(re.search(r"Overall exposure level[^:]*: ([\d.]+)", report).group(1)) <= 2.0


def test_a_second_run_changes_nothing(node, example, tmp_path):
    again = playbooks.site("--limit", "node1", "-e", json.dumps(example), log=tmp_path / "ssh")
    assert (again.status, again.changed) == (0, {"node1": 0}), again.messages()
