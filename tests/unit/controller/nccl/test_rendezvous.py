"""Who meets whom, and what is said of a rank that does not come."""

from __future__ import annotations

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.nccl import rendezvous

HOSTS = ["gpu1", "gpu2"]
ASKED = {
    "backend": "gloo",
    "hosts": HOSTS,
    "gpus": [],
    "host": "gpu1.example.com",
    "port": 29500,
    "world_size": 0,
    "timeout": 10,
}
SERVED = {"rank": 0, "torch": "2.6.0", "gpus": 0, "addresses": ["10.0.0.1"], "own": True}
CAME = {"rank": 1, "torch": "2.6.0", "gpus": 0, "addresses": ["10.0.0.1"]}
WAITED = {**SERVED, "stage": "meet", "says": "", "missing": [1], "log": []}


def orders(name="gpu1", forks=20, **asked):
    return rendezvous.orders({**ASKED, **asked}, name, forks)


def said(zero, one, **asked):
    """Return the sentences about what rank 0 and rank 1 found; None is a host not reached."""
    found = {"gpu1": zero and {"log": [], "says": "", **zero}, "gpu2": one and {"log": [], **one}}
    answers = {
        host: {
            "python": "python3",
            "peer_memory": True,
            "orders": orders(host, **asked),
        }
        for host in HOSTS
        if found[host]
    }
    ranks = {host: [row] for host, row in found.items() if row}
    return [str(one) for one in rendezvous.Meeting(HOSTS, answers, ranks).refusals()]


def test_each_host_has_one_rank_at_the_rendezvous():
    (order,) = orders("gpu2")
    assert (order["rank"], order["world_size"]) == (1, 2)


def test_each_gpu_is_a_rank_of_nccl():
    mine = orders("gpu2", backend="nccl", gpus=[2, 4], world_size=0)
    assert [(one["rank"], one["device"]) for one in mine] == [(2, 0), (3, 1), (4, 2), (5, 3)]
    assert {one["world_size"] for one in mine} == {6}


@pytest.mark.parametrize(
    ("asked", "forks", "words"),
    [
        ({"world_size": 1}, 20, ["nccl_world_size: 1", "2 hosts", "--limit"]),
        ({"hosts": ["gpu1"]}, 20, ["gpu1 alone", "two hosts"]),
        ({}, 1, ["forks: 1", "--forks 2"]),
        ({"backend": "nccl", "gpus": [8, 0]}, 20, ["NCCL on gpu2", "no GPU", "--tags rendezvous"]),
    ],
)
def test_what_cannot_become_a_meeting_is_refused_before_anybody_waits(asked, forks, words):
    with pytest.raises(Refusal) as caught:
        orders(forks=forks, **asked)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_host_alone_may_wait_for_a_rank_that_no_host_has():
    assert orders(hosts=["gpu1"], world_size=2)[0]["world_size"] == 2


@pytest.mark.parametrize(
    ("zero", "one", "words"),
    [
        (
            WAITED,
            {"rank": 1, "stage": "torch", "says": "No module named 'torch'"},
            ["PyTorch on rank 1 (gpu2)", "No module named 'torch'", "nccl_environment"],
        ),
        (
            WAITED,
            {**CAME, "stage": "name", "says": "Name or service not known"},
            ["host gpu1.example.com", "rank 1 (gpu2) cannot resolve", "/etc/hosts"],
        ),
        (
            {**SERVED, "stage": "listen", "says": "Address already in use"},
            {**CAME, "stage": "store", "says": "timed out"},
            ["port 29500", "rank 0 (gpu1) cannot listen", "ss -ltnp", "nccl_port"],
        ),
        (
            WAITED,
            {**CAME, "stage": "reach", "says": "no answer"},
            ["gpu1.example.com:29500 (10.0.0.1)", "rank 1 (gpu2)", "within 10 s", "a firewall"],
        ),
        (
            {**WAITED, "own": False, "addresses": ["10.0.0.9"]},
            {**CAME, "stage": "reach", "says": "no answer", "addresses": ["10.0.0.9"]},
            ["(10.0.0.9)", "no address of rank 0 (gpu1)", "Correct nccl_host"],
        ),
        (
            {**WAITED, "addresses": ["10.0.0.1"]},
            {**CAME, "stage": "reach", "says": "refused", "addresses": ["10.0.0.7"]},
            ["on rank 0 (gpu1) the name means 10.0.0.1", "/etc/hosts"],
        ),
        (
            {**WAITED, "addresses": ["127.0.1.1"]},
            {**CAME, "stage": "reach", "says": "refused", "addresses": ["127.0.1.1"]},
            ["on rank 0 (gpu1) the name means 127.0.1.1"],
        ),
        (
            None,
            {**CAME, "stage": "reach", "says": "refused"},
            ["rank 0 (gpu1, which Ansible did not reach) does not listen"],
        ),
        (
            {**WAITED, "torch": "1.13.0"},
            {**CAME, "stage": "store", "says": "timed out"},
            ["rank 1 (gpu2) is not the store", "gpu1 has 1.13.0, gpu2 has 2.6.0"],
        ),
        (
            WAITED,
            None,
            [
                "rank 1 (gpu2, which Ansible did not reach)",
                "rank 0 (gpu1) waited",
                "nccl_world_size",
            ],
        ),
        (
            {**SERVED, "stage": "group", "says": "connect: timed out", "missing": []},
            {**CAME, "stage": "group", "says": "connect: timed out", "missing": []},
            ["gloo on rank 0 (gpu1), rank 1 (gpu2)", "did not connect to each other", "port_range"],
        ),
        (
            {**SERVED, "stage": "sum", "says": "the sum is 1 to 3 in place of 3", "missing": []},
            {**CAME, "stage": "done", "says": "", "missing": []},
            ["all_reduce with gloo on rank 0 (gpu1)", "in place of 3"],
        ),
    ],
)
def test_a_fault_names_its_ranks_its_reason_and_the_remedy(zero, one, words):
    sentences = said(zero, one)
    assert [word for word in words if word not in sentences[0]] == []


def test_a_rank_that_no_host_has_is_told():
    (sentence,) = said(
        {**WAITED, "missing": [2]},
        {**CAME, "stage": "meet", "says": "", "missing": [2]},
        world_size=3,
    )
    assert "rank 2 (no host of this run has it)" in sentence
    assert "World size is 3" in sentence


def test_a_rank_of_a_host_that_was_lost_is_missing_whoever_else_noted_it():
    (sentence,) = said({**SERVED, "stage": "meet", "says": "nothing came for 15 s"}, None)
    assert "rank 1 (gpu2, which Ansible did not reach)" in sentence


def test_ranks_of_gpus_on_a_host_that_was_lost_are_told():
    (sentence,) = said({**WAITED, "missing": [1]}, None, backend="nccl", gpus=[1, 1])
    assert "rank 1 (of a host that Ansible did not reach)" in sentence


def test_a_rank_that_lost_the_store_is_no_fault_beside_the_cause():
    lost = {**CAME, "stage": "meet", "says": "Connection reset by peer"}
    (sentence,) = said({**WAITED, "missing": [2]}, lost, world_size=3)
    assert "rank 2" in sentence
    (sentence,) = said({**SERVED, "stage": "done", "missing": []}, lost)
    assert "rank 1 (gpu2) lost the store" in sentence


def done(rank, line, **more):
    line = f"h:1:2 [0] NCCL INFO Channel 00/0 : {line}"
    row = {**(CAME if rank else SERVED), "stage": "done", "says": "", "missing": [], "gpus": 1}
    return {**row, "log": [line], **more}


def test_what_met_and_summed_is_said_with_where_and_by_what():
    zero, one = done(0, ""), done(1, "")
    answers = {host: {"orders": orders(host)} for host in HOSTS}
    meeting = rendezvous.Meeting(HOSTS, answers, {"gpu1": [zero], "gpu2": [one]})
    assert meeting.refusals() == []
    assert meeting.gpus() == [1, 1]
    said_so = "2 ranks on gpu1, gpu2 met at gpu1.example.com:29500 and summed with gloo"
    assert meeting.summary().startswith(said_so)


def test_a_sum_of_nccl_that_fell_back_is_a_fault():
    nccl = {"backend": "nccl", "gpus": [1, 1]}
    zero = done(0, "1[0] -> 0[0] [receive] via NET/IB/0/GDRDMA")
    assert said(zero, done(1, "0[0] -> 1[0] [receive] via NET/IB/0(1)/GDRDMA"), **nccl) == []
    (sentence,) = said(zero, done(1, "0[0] -> 1[0] [receive] via NET/Socket/0"), **nccl)
    assert "rank 1 (gpu2)" in sentence
    assert "NET/Socket/0" in sentence


@pytest.mark.parametrize(
    ("peer_memory", "wanted"), [(None, True), ({"route": "auto"}, True), ({"route": "none"}, False)]
)
def test_peer_memory_is_wanted_unless_its_route_is_none(peer_memory, wanted):
    assert rendezvous.wants_peer_memory(peer_memory) is wanted


def test_the_python_is_that_of_the_environment_or_of_the_host():
    assert rendezvous.python("train", {"dir": "/opt/envs"}) == "/opt/envs/train/bin/python"
    assert rendezvous.python("", {"dir": "/opt/envs"}) == "python3"


ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "rank": st.integers(-1, 3) | hostile.ANY,
            "stage": st.sampled_from(rendezvous._STAGES) | hostile.ANY,
            "says": hostile.TEXTS | hostile.ANY,
            "log": st.lists(hostile.TEXTS, max_size=2) | hostile.ANY,
            "torch": hostile.TEXTS,
            "gpus": hostile.NUMBERS | hostile.ANY,
            "addresses": st.lists(hostile.TEXTS, max_size=2) | hostile.ANY,
            "own": st.booleans() | hostile.ANY,
            "missing": st.lists(hostile.NUMBERS, max_size=2) | hostile.ANY,
        },
    )
    | hostile.ANY,
    max_size=3,
)


@given(zero=ROWS | hostile.ANY, one=ROWS | hostile.ANY, backend=st.sampled_from(["gloo", "nccl"]))
def test_whatever_hosts_say_of_their_ranks_it_is_judged_and_shown(zero, one, backend):
    asked = {"backend": backend, "gpus": [1, 1], "world_size": 0}
    told = {
        host: {"python": "python3", "peer_memory": True, "orders": orders(host, **asked)}
        for host in HOSTS
    }
    meeting = rendezvous.Meeting(HOSTS, told, {"gpu1": zero, "gpu2": one})
    said = [*map(str, meeting.refusals()), meeting.summary()]
    assert not hostile.obeyed("".join(said))
    assert all(0 <= gpus <= 64 for gpus in meeting.gpus())


def test_no_host_speaks_for_the_rank_of_another():
    forged = {**SERVED, "rank": 1, "stage": "done", "says": "", "missing": [], "log": []}
    told = {
        host: {"python": "python3", "peer_memory": True, "orders": orders(host)} for host in HOSTS
    }
    zero = {**forged, "rank": 0}
    (sentence,) = map(str, rendezvous.Meeting(HOSTS, told, {"gpu1": [zero, forged]}).refusals())
    assert "rank 1 (gpu2, which Ansible did not reach)" in sentence
