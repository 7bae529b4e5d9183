"""What people see of a run that ends before it has touched anything, and what it costs."""

from __future__ import annotations

import collections
import functools
import json
import re

import pytest
import recorded_fleet

import costs
from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

HOSTS = ["one", "two", "three"]

# A play of somebody's own, who goes through a fleet in parts.
IN_BATCHES = """\
- name: Look at two hosts at a time
  hosts: all
  gather_facts: false
  serial: 2
  roles:
    - role: gpunode.stack.preflight
"""


class Bare(recorded_fleet.Fleet):
    """Hosts with nothing on them."""

    def run(self, callback="default", own=None, **variables):
        """Run site.yml or another playbook; see recorded_fleet.Fleet.

        :param own: {host: variables of its own}.
        """
        facts = facts_shape.empty(facts_shape.Facts)
        facts |= {"service_mgr": "systemd", "own_kernel": True}
        hosts = {host: self.answer("bare", facts) | (own or {}).get(host, {}) for host in HOSTS}
        return super().run(hosts, callback=callback, **variables)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return Bare(tmp_path_factory.mktemp("fleet"))


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


def test_of_a_fleet_that_is_as_wanted_no_host_is_asked_again(fleet, monkeypatch):
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "2")
    status, said = fleet.run()
    assert status == 0, said
    assert re.findall(r"META: (.*)", said) == ["ending play"]


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A fleet of composed hosts, and {status of its plan: hosts of each kind that there is}."""
    several = recorded_fleet.Fleet(tmp_path_factory.mktemp("composed"))
    statuses = ("converged", "changes", "refused")
    return several, {status: several.kinds(status) for status in statuses}


def test_of_several_hosts_those_are_sorted_that_are_due_and_no_other(composed):
    several, kinds = composed
    hosts = {status: of_one[0] for status, of_one in kinds.items()}
    plan = functools.partial(several.run, hosts, "playbooks/plan.yml")
    status, said = plan(gpunode_refused_hosts="leave_out")
    assert status != 0
    assert set(re.findall(r"\[(\w+)\] => \(item=", said)) == {"changes"}
    assert set(re.findall(r"fatal: \[(\w+)\]", said)) == {"refused"}
    assert "Left out of this run" in said
    status, said = plan()
    assert status != 0
    assert "=> (item=" not in said
    assert "Left out of this run" not in said


def test_a_further_host_that_is_as_wanted_takes_little_of_the_controllers_memory(composed):
    several, kinds = composed
    peaks = {}
    for count in (10, 60):
        hosts = recorded_fleet.of_kinds(kinds["converged"], count)
        status, said = several.run(
            hosts, through=recorded_fleet.PEAK, preflight_json=str(several.folder / "plan.json")
        )
        assert status == 0, said
        peaks[count] = int(said.split()[-1])
    further_kib = (peaks[60] - peaks[10]) / 50
    plans = json.loads((several.folder / "plan.json").read_text())["hosts"].values()
    assert len(plans) == 60
    assert further_kib <= costs.MOST["memory_kib"]
    assert max(len(json.dumps(plan)) for plan in plans) <= costs.MOST["plan_bytes"]


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


@pytest.mark.parametrize(
    ("refused_hosts", "told"), [("stop", ["one", "two"]), ("leave_out", ["one", "two", "three"])]
)
def test_a_play_in_batches_tells_of_each_host_once_and_goes_on_where_that_is_said(
    fleet, refused_hosts, told
):
    playbook = fleet.folder / "batches.yml"
    playbook.write_text(IN_BATCHES)
    strange = {"two": {"conda_env_lsit": []}}
    status, said = fleet.run(
        own=strange, playbook=str(playbook), gpunode_refused_hosts=refused_hosts
    )
    assert status != 0
    assert said.count("1 host (two): refused, nothing was touched") == 1
    assert "not reached" not in said
    for host in HOSTS:
        lines = said.count(f"1 host ({host}): ")
        assert lines == (1 if host in told else 0), (host, said)
