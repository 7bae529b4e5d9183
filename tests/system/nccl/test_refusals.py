"""Hosts that cannot compute together are named one by one, and nothing is changed on them."""

from __future__ import annotations

import json

import pytest

from system import playbooks

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "No module named 'torch'"),
        (
            {"nccl_environment": "nowhere", "conda_env_dir": "/opt/envs"},
            "/opt/envs/nowhere/bin/python: No such file or directory",
        ),
    ],
)
def test_hosts_without_pytorch_are_named_with_the_reason(lab, tmp_path, variables, words):
    run = playbooks.run("playbooks/nccl.yml", "-e", json.dumps(variables), log=tmp_path / "ssh")
    assert run.status == 2
    assert "PyTorch on rank 0 (node1), rank 1 (node2)" in run.messages()
    assert words in run.messages()
    assert set(run.changed.values()) == {0}
    left = "ls -d /tmp/gpunode-* 2>/dev/null; pgrep -f 'One rank of an all_[r]educe'; true"
    assert [lab.ssh(name, left).stdout for name in ("node1", "node2")] == ["", ""]
