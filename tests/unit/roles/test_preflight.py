"""What people see of a run that ends before it has touched anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path):
    """Return a function from variables to what site.yml prints for two hosts that are this one."""

    def printed(**variables):
        hosts = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = tmp_path / "hosts.json"
        inventory.write_text(
            json.dumps({"all": {"hosts": {"one": hosts, "two": hosts}, "vars": variables}})
        )
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "site.yml"],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0
        return done.stdout + done.stderr

    return printed


@pytest.mark.skipif(os.geteuid() != 0, reason="a host is looked at by root; run as root")
def test_each_refusal_is_printed_once_and_stops_all_hosts(run):
    said = run(conda_env_lsit=[], gpunode_stack="r581")
    for text in ("variable conda_env_lsit: no role reads it", "the catalog has no such stack"):
        assert said.count(text) == 1
    assert said.count("what is refused, why, and what to do about it stands above") == 2
    assert "group_by" not in said
