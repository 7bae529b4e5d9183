"""Hosts meet at the store of torch.distributed, and whoever does not is named within seconds.

NCCL needs GPUs: its log is read in tests/unit/controller/nccl/test_log.py, and here it is refused.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import time

import pytest

from lab import commands
from lab.node import DEFAULT_COUNT
from system import playbooks

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.executes("nccl", "debian12"),
    pytest.mark.executes("nccl", "debian13"),
]

PORT = 29500
TIMEOUT_S = 5
# What a run takes on top of the time-outs: Ansible's own, and PyTorch's import on a busy machine.
OVERHEAD_S = 90
FIRST, SECOND = "node1", "node3"
# The other release of Debian, whose PyTorch is of another release too.
OTHER = "node2"
INSTALL = (
    "sudo sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive "
    "apt-get install -y -qq --no-install-recommends {}'"
)


class Hosts:
    """Nodes that have Debian's own PyTorch, and the playbook on them."""

    def __init__(self, lab, log):
        self._lab = lab
        self._log = log

    def command(self, name, command, timeout_s=60):
        """Run a command on a node and return what it prints."""
        done = self._lab.node(name).ssh(command, timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def address(self, name):
        return self._lab.node(name).address

    def meet(self, *arguments, hosts=(FIRST, SECOND), **variables):
        """Run the playbook and return (status, what was said); it ends in seconds.

        :param arguments: further ones of ansible-playbook.
        :param variables: variables, as on the command line.
        """
        variables = {"nccl_timeout": TIMEOUT_S, **variables}
        began = time.monotonic()
        run = playbooks.run(
            "playbooks/nccl.yml",
            *("--limit", ",".join(hosts), "-e", json.dumps(variables), *arguments),
            log=self._log,
        )
        assert time.monotonic() - began < 2 * TIMEOUT_S + OVERHEAD_S
        assert set(run.changed.values()) == {0}
        return run.status, run.messages()

    @contextlib.contextmanager
    def firewall(self, name, *rules):
        """Have rules for what comes in on a node, for a with block."""
        script = "; ".join(
            [
                "add table inet closed",
                "add chain inet closed input { type filter hook input priority 0; }",
                *(f"add rule inet closed input {rule}" for rule in rules),
            ]
        )
        self.command(name, f"sudo nft '{script}'")
        try:
            yield
        finally:
            self.command(name, "sudo nft delete table inet closed")

    @contextlib.contextmanager
    def listening(self, name):
        """Have somebody else listen at the port on a node, for a with block."""
        unit = "somebody-else"
        argv = f"python3 -m http.server {PORT}"
        self.command(name, f"sudo systemd-run --quiet --collect --unit={unit} {argv}")
        wait = f"timeout 30 sh -c 'until ss -ltn | grep -q :{PORT}; do sleep 0.2; done'"
        self.command(name, wait)
        try:
            yield
        finally:
            self.command(name, f"sudo systemctl stop {unit}")

    def left(self, name):
        """Return what a run left on a node: its processes, and listeners at the port."""
        listed = "pgrep -af 'One rank of an all_[r]educe' | cut -c1-80"
        listens = f"ss -Hltn 'sport = :{PORT}'"
        # The last one fails where nothing is left, which is what is hoped for.
        return self.command(name, f"{listed}; {listens}; ls -d /tmp/gpunode-* 2>/dev/null || true")


@pytest.fixture(scope="module")
def hosts(lab, tmp_path_factory):
    commands.up(lab, 3)
    found = Hosts(lab, tmp_path_factory.mktemp("nccl") / "ssh")
    wanted = {
        FIRST: "python3-torch nftables",
        SECOND: "python3-torch",
        OTHER: "python3-torch",
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: found.command(name, INSTALL.format(wanted[name]), 900), wanted))
    yield found
    # The other tests expect bare hosts.
    for name in (FIRST, OTHER):
        lab.fresh(name)
    commands.up(lab, DEFAULT_COUNT)


@pytest.fixture(autouse=True)
def _nothing_is_left(hosts, lab):
    """Whatever came of a run, no process of it is left, and nobody listens."""
    yield
    for name in (FIRST, SECOND, OTHER):
        assert hosts.left(name) == ""


def test_hosts_meet_and_sum_on_their_cpus(hosts):
    status, said = hosts.meet("--tags", "rendezvous")
    assert status == 0, said
    at = f"{hosts.address(FIRST)}:{PORT}"
    assert f"2 ranks on {FIRST}, {SECOND} met at {at} and summed with gloo" in said


def test_hosts_without_gpus_meet_and_are_refused_for_nccl(hosts):
    status, said = hosts.meet()
    assert status == 2
    assert "met at" in said
    assert f"NCCL on {FIRST}, {SECOND}: PyTorch sees no GPU there" in said


@pytest.mark.parametrize(
    ("verdict", "reason"), [("drop", "no answer"), ("reject with tcp reset", "refused")]
)
def test_a_firewall_before_the_store_is_named(hosts, verdict, reason):
    with hosts.firewall(FIRST, f'iifname != "lo" tcp dport {PORT} {verdict}'):
        status, said = hosts.meet()
    assert status == 2
    assert f"{hosts.address(FIRST)}:{PORT}" in said
    assert f"rank 1 ({SECOND}) did not reach it within {TIMEOUT_S} s" in said
    assert reason in said
    assert f"though rank 0 ({FIRST}) listens: a firewall. Open TCP port {PORT}" in said


def test_a_firewall_behind_the_store_is_named(hosts):
    closed = f'iifname != "lo" tcp dport 1024-65535 tcp dport != {PORT} ct state new drop'
    with hosts.firewall(FIRST, closed):
        status, said = hosts.meet()
    assert status == 2
    assert "did not connect to each other" in said
    assert "ip_local_port_range" in said


def test_a_name_that_nobody_knows_is_named(hosts):
    status, said = hosts.meet(nccl_host="nowhere.invalid")
    assert status == 2
    assert "host nowhere.invalid: rank 0 (node1), rank 1 (node3) cannot resolve the name" in said
    assert "Correct nccl_host" in said


def test_a_name_that_leads_elsewhere_is_named(hosts):
    status, said = hosts.meet(nccl_host=hosts.address(OTHER))
    assert status == 2
    assert f"{hosts.address(OTHER)}:{PORT}" in said
    assert f"that is no address of rank 0 ({FIRST}). Correct nccl_host" in said


def test_somebody_else_who_answers_elsewhere_is_not_taken_for_the_store(hosts):
    with hosts.listening(OTHER):
        status, said = hosts.meet(nccl_host=hosts.address(OTHER))
    assert status == 2
    assert f"what answers rank 1 ({SECOND}) is not the store of rank 0 ({FIRST})" in said


def test_a_port_that_is_taken_is_named(hosts):
    with hosts.listening(FIRST):
        status, said = hosts.meet()
    assert status == 2
    assert f"port {PORT}: rank 0 ({FIRST}) cannot listen there" in said
    assert "already in use" in said


def test_a_rank_that_no_host_has_is_named(hosts):
    status, said = hosts.meet(nccl_world_size=3)
    assert status == 2
    assert "rank 2 (no host of this run has it): missing at" in said
    assert "World size is 3" in said


def test_a_host_that_is_down_is_named_by_its_rank(hosts, lab):
    lab.stop(SECOND)
    try:
        status, said = hosts.meet()
    finally:
        lab.start(SECOND)
    assert status != 0
    assert f"rank 1 ({SECOND}, which Ansible did not reach): missing at" in said
    assert f"where rank 0 ({FIRST}) waited" in said


def test_two_releases_of_pytorch_that_do_not_talk_are_named(hosts):
    status, said = hosts.meet(hosts=(FIRST, OTHER))
    assert status == 2
    assert "Give all hosts the same release of PyTorch: node1 has 1.13" in said
    assert "node2 has 2.6" in said
