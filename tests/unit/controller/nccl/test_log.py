"""GPUDirect RDMA is told from every silent fallback by NCCL's own lines."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.nccl import log as nccl_log

_TABLE = yaml_file.load(project.ROOT / "tests" / "standins" / "nccl" / "connections.yml")
_FIELDS = ("rank", "direction", "network", "gdr")


def place(rank):
    return f"rank {rank} (gpu{rank + 1})"


@pytest.mark.parametrize("row", _TABLE["lines"], ids=lambda row: row["line"][-40:])
def test_a_line_is_read_as_nccl_means_it(row):
    found = nccl_log.connections(row["line"] + "\n")
    said = [{key: getattr(one, key) for key in _FIELDS} for one in found]
    expected = [{key: row[key] for key in _FIELDS}] if row["network"] else []
    assert said == expected
    assert [one.line for one in found] == [row["line"]] * len(expected)


@pytest.mark.parametrize(
    ("peer_memory", "key"), [(True, "faulty"), (False, "faulty_without_peer_memory")]
)
@pytest.mark.parametrize("log", _TABLE["logs"], ids=lambda log: log["name"])
def test_the_ranks_that_fell_back_are_told(log, peer_memory, key):
    found = nccl_log.connections("\n".join(log["lines"]))
    assert list(nccl_log.fallbacks(found, peer_memory)) == log[key]


def said_of(name, peer_memory=True):
    """Return the refusals of a log of the table, by its name, as sentences."""
    (log,) = [log for log in _TABLE["logs"] if log["name"] == name]
    found = nccl_log.connections("\n".join(log["lines"]))
    return [str(refusal) for refusal in nccl_log.refusals(found, peer_memory, place)]


def test_tcp_is_refused_once_with_its_ranks_the_line_and_the_remedy():
    (said,) = said_of("TCP", peer_memory=False)
    assert "rank 0 (gpu1), rank 1 (gpu2)" in said
    assert "1[0] -> 0[0] [receive] via NET/Socket/0" in said
    assert "ibv_devices" in said


def test_host_memory_is_refused_where_peer_memory_is_wanted():
    name = "one rank by InfiniBand through host memory"
    (said,) = said_of(name)
    assert "rank 1 (gpu2)" in said
    assert "rank 0" not in said
    assert "0[0] -> 1[0] [receive] via NET/IB/0" in said
    assert "nvidia_peermem" in said
    assert said_of(name, peer_memory=False) == []


def test_a_log_without_any_connection_proves_nothing():
    (refusal,) = nccl_log.refusals([], True, place)
    assert "no rank logged a connection" in str(refusal)
