"""Which runs of the peer count, and what its deploy file is told of a converged node."""

from __future__ import annotations

import copy
import json
import subprocess

import pytest

from benchmarks import peer

PREFIX = "/opt/gpunode/envs/ob_cuda-0123456789ab"
ENTRIES = [
    {"kind": "file", "path": "/opt/miniforge3/.condarc"},
    {"kind": "presence", "path": "/opt/miniforge3/conda-meta/conda-24.7.1-py311.json"},
    {"kind": "environment", "path": PREFIX},
    {"kind": "tree", "path": "/srv/ob_cuda/releases/abc"},
    {"kind": "unit", "name": "ob_cuda.socket"},
    {"kind": "user", "name": "ob_cuda"},
    {"kind": "drop_ins", "name": "ob_cuda.socket", "files": {}},
    {"kind": "fresh", "name": "ob_cuda.service", "path": f"{PREFIX}/.gpunode.lock"},
]
ASKED = [
    "dest=/opt/miniforge3/.condarc",
    f"path={PREFIX}",
    "dest=/srv/ob_cuda/releases/abc",
    "service=ob_cuda.socket",
    "user=ob_cuda",
    "path=/etc/systemd/system/ob_cuda.socket.d",
]


def operation(argument):
    return {
        "name": "Files/Put",
        "args": [argument],
        "hosts": 2,
        "success": [],
        "error": [],
        "no_change": ["node1", "node2"],
    }


OPERATIONS = [operation(argument) for argument in ASKED]


def done(operations, status=0):
    text = json.dumps({"plan": [], "results": {"operations": operations}})
    return subprocess.CompletedProcess([], status, text, "said to stderr")


def test_a_run_of_the_peer_that_looked_at_all_and_did_nothing_counts():
    assert peer.flaws(done(OPERATIONS), 2, ENTRIES) == []


@pytest.mark.parametrize("key", ["success", "error"])
def test_a_peer_that_did_something_makes_the_measurement_void(key):
    operations = copy.deepcopy(OPERATIONS)
    operations[3][key] = [operations[3]["no_change"].pop()]
    (flaw,) = peer.flaws(done(operations), 2, ENTRIES)
    assert "service=ob_cuda.socket" in flaw
    assert "node2" in flaw


def test_a_peer_that_left_out_a_host_makes_it_void():
    assert len(peer.flaws(done(OPERATIONS), 3, ENTRIES)) == len(OPERATIONS)


@pytest.mark.parametrize("left_out", range(len(ASKED)))
def test_a_peer_that_looks_at_less_makes_it_void(left_out):
    operations = [one for at, one in enumerate(OPERATIONS) if at != left_out]
    (flaw,) = peer.flaws(done(operations), 2, ENTRIES)
    assert flaw.startswith("pyinfra did not look at ")


def test_a_peer_that_failed_is_quoted():
    (flaw,) = peer.flaws(done([], status=1), 2, ENTRIES)
    assert "status 1: said to stderr" in flaw


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The root folder of a node, with receipts and what they name."""
    monkeypatch.setattr(peer, "OUTPUT", tmp_path / "output")
    tree = tmp_path / "root"
    texts = {
        "opt/miniforge3/.condarc": "channels: []\n",
        "srv/ob_cuda/releases/abc/main.py": "app = None\n",
        f"{PREFIX[1:]}/conda-meta/python-3.11.7-0_cp311.json": "{}",
        f"{PREFIX[1:]}/conda-meta/history": "",
        f"{PREFIX[1:]}/lib/python3.11/site-packages/flask-3.0.dist-info/METADATA": "",
        "var/lib/gpunode/miniforge.json": json.dumps({"digest": "a", "manifest": ENTRIES[:3]}),
        "var/lib/gpunode/serving.json": json.dumps({"digest": "b", "manifest": ENTRIES[3:]}),
        "var/lib/gpunode/note.json": json.dumps({"another": "note"}),
    }
    for path, text in texts.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    return tree


def test_the_peer_is_told_what_is_on_the_node_by_its_receipts(tree):
    assert peer.take_state(tree) == ENTRIES
    placed = json.loads((peer.OUTPUT / "placed.json").read_text())
    copies = peer.OUTPUT / "placed"
    assert placed == {
        "copies": str(copies),
        "conda_record": ENTRIES[1]["path"],
        "environment": PREFIX,
        "conda_records": ["python-3.11.7-0_cp311.json"],
        "site_packages": f"{PREFIX}/lib/python3.11/site-packages",
        "dist_infos": ["flask-3.0.dist-info"],
        "release": "/srv/ob_cuda/releases/abc",
    }
    assert (copies / "opt/miniforge3/.condarc").read_text() == "channels: []\n"
    assert (copies / "srv/ob_cuda/releases/abc/main.py").is_file()


def test_what_an_earlier_measurement_was_told_is_gone(tree):
    (peer.OUTPUT / "placed" / "old").mkdir(parents=True)
    peer.take_state(tree)
    assert not (peer.OUTPUT / "placed" / "old").exists()
