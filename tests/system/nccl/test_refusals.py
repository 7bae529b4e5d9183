"""Hosts that cannot compute together are named one by one, and nothing is changed on them."""

from __future__ import annotations

import json
import shlex

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


# In the place of PyTorch: it says as whom it is imported, and what it may do.
IMPORTED = """\
import os, resource

def may_write(folder):
    try:
        with open(os.path.join(folder, "written-by-torch"), "w"):
            return True
    except OSError:
        return False

with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
rights = ",".join(status[key].strip() for key in ("NoNewPrivs", "CapBnd", "CapEff"))
pins = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
places = "/usr /etc /var /var/cache /opt /home /root /srv /tmp /dev/shm".split()
written = " ".join(place for place in places if may_write(place))
raise ImportError(f"root: {os.getuid() == 0}, rights: {rights}, pins: {pins}, writes: {written};")
"""


def test_pytorch_is_imported_as_a_user_without_rights(lab, tmp_path):
    place = "/usr/lib/python3/dist-packages/torch.py"
    for name in ("node1", "node2"):
        command = f"printf %s {shlex.quote(IMPORTED)} | sudo tee {place}"
        assert lab.ssh(name, command).returncode == 0
    try:
        run = playbooks.run("playbooks/nccl.yml", log=tmp_path / "ssh")
        left = lab.ssh("node1", "ls /tmp/written-by-torch").returncode
    finally:
        for name in ("node1", "node2"):
            lab.ssh(name, f"sudo rm -r {place} /usr/lib/python3/dist-packages/__pycache__/torch.*")
            lab.ssh(name, "sudo rm -f /dev/shm/written-by-torch")
    none = "0" * 16
    # As much as the host can give: all, unless it is a container of one that gives less.
    most = lab.ssh("node1", "sudo prlimit --pid 1 --memlock --output HARD --noheadings").stdout
    pins = {"unlimited": -1}.get(most.strip()) or int(most)
    assert (
        f"root: False, rights: 1,{none},{none}, pins: {pins}, writes: /tmp /dev/shm;"
        in run.messages()
    )
    assert left != 0
