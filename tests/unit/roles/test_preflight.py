"""What people see of a run that ends before it has touched anything, and what it costs."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import costs
from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

PROJECT = Path(__file__).parents[3]
HOSTS = ["one", "two", "three"]


class Fleet:
    """Hosts with nothing on them, and runs of site.yml over them."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        answer = {
            **facts_shape.empty(facts_shape.Facts),
            "service_mgr": "systemd",
            "own_kernel": True,
        }
        (folder / "answer.json").write_text(json.dumps({"answer": answer}))

    def run(self, callback="default", **variables):
        """Run site.yml, and return its exit status and all that it printed."""
        inventory = self.folder / "hosts.json"
        common = {
            "ansible_connection": "recorded",
            "ansible_python_interpreter": "/usr/bin/python3",
            "recorded_answer": str(self.folder / "answer.json"),
            "recorded_log": str(self.log),
            **variables,
        }
        inventory.write_text(
            json.dumps({"all": {"hosts": {host: {} for host in HOSTS}, "vars": common}})
        )
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "site.yml"],
            cwd=PROJECT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                "ANSIBLE_CONNECTION_PLUGINS": str(PROJECT / "tests/standins/connection"),
                "ANSIBLE_STDOUT_CALLBACK": callback,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def sent(self):
        """Return [(host, bytes)] of the commands that were sent since the last time."""
        rows = [line.split() for line in self.log.read_text().splitlines()]
        self.log.unlink()
        return [(host, int(count)) for host, count in rows]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return Fleet(tmp_path_factory.mktemp("fleet"))


def tasks(printed):
    """Return {host: names of the tasks that it took part in, but for those done once for all}.

    One that is skipped is a process as well.

    :param printed: by the callback that prints JSON.
    """
    found = collections.defaultdict(list)
    for play in json.JSONDecoder().raw_decode(printed)[0]["plays"]:
        for task in play["tasks"]:
            for host in task["hosts"] if len(task["hosts"]) > 1 else ():
                found[host].append(task["task"]["name"])
    return found


def test_a_host_that_is_as_wanted_costs_a_task_and_a_round_trip_and_little_is_sent(fleet):
    status, said = fleet.run("ansible.posix.json")
    assert status == 0, said
    assert "3 hosts (one, three, two): converged, nothing to do" in said
    assert {host: len(names) for host, names in tasks(said).items()} == dict.fromkeys(
        HOSTS, costs.MOST["tasks"]
    )
    sent = fleet.sent()
    assert sorted(host for host, _bytes in sent) == sorted(HOSTS * costs.MOST["round_trips"])
    assert max(count for _host, count in sent) <= costs.MOST["sent_bytes"]


def test_each_refusal_is_printed_once_and_stops_all_hosts(fleet):
    status, said = fleet.run(conda_env_lsit=[], gpunode_stack="r581")
    assert status != 0
    for text in ("variable conda_env_lsit: no role reads it", "the catalog has no such stack"):
        assert said.count(text) == 1
    assert "what is refused, why, and what to do about it stands above" in said
    assert "gpunode_due" not in said


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("gpunode_consent", ["nonsense"], "Got no match for: nonsense"),
        ("gpunode_driver_method", "rpm", "must be one of: package, runfile, got: rpm"),
        ("gpunode_refused_hosts", "all", "must be one of: stop, leave_out, got: all"),
        ("preflight_json", {"a": 1}, "and it is to be a text"),
        ("preflight_json", [], "and it is to be a text"),
    ],
)
def test_what_an_option_of_the_fleet_cannot_be_is_refused_by_its_name(fleet, name, value, why):
    before = set(fleet.folder.iterdir())
    status, said = fleet.run(**{name: value})
    assert status != 0
    assert "refused, nothing was touched" in said
    assert name in said
    assert why in said
    assert set(fleet.folder.iterdir()) == before
