"""What `make bench` measures of what it can, shows, and leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from benchmarks import __main__ as bench
from benchmarks.table import Series, Table

FOUND = Table("Runs", ("hosts", "wall, s"), [[2, Series((3.0, 1.0, 2.0))]])


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """A lab of three nodes that does nothing; what is asked of it is in `done`."""
    done = []

    def node(name):
        return SimpleNamespace(name=name, discard=lambda: done.append(f"discard {name}"))

    nodes = [node(f"node{number}") for number in (1, 2, 3)]
    lab = SimpleNamespace(
        nodes=nodes, done=done, node=node, fresh=lambda name: done.append(f"fresh {name}")
    )
    monkeypatch.setattr(bench, "Lab", lambda *_arguments, **_options: lab)
    monkeypatch.setattr(bench, "OUTPUT", tmp_path)
    monkeypatch.setattr(bench.commands, "up", lambda _lab, count: done.append(f"up {count}"))
    return lab


def fails(_lab, _options):
    yield FOUND
    raise AssertionError("a run did not end well")


def test_a_measurement_that_fails_leaves_as_many_nodes_as_there_were(monkeypatch, lab):
    monkeypatch.setitem(bench.PARTS, "fleets", fails)
    with pytest.raises(AssertionError, match="did not end well"):
        bench.main(["fleets"])
    assert lab.done == ["up 3", "up 3", "fresh node1"]


def test_nodes_that_were_added_go_with_their_files(monkeypatch, lab):
    def grows(_lab, _options):
        lab.nodes.append(lab.node("node4"))
        yield FOUND

    monkeypatch.setitem(bench.PARTS, "fleets", grows)
    bench.main(["fleets"])
    assert lab.done == ["up 3", "discard node4", "up 3", "fresh node1"]


def test_what_was_measured_before_a_failure_is_shown_and_left(monkeypatch, lab, tmp_path, capsys):
    monkeypatch.setitem(bench.PARTS, "fleets", fails)
    with pytest.raises(AssertionError):
        bench.main(["fleets"])
    shown = capsys.readouterr().out
    assert "### The machine" in shown
    assert "| 2 | 2.00 |" in shown
    assert "| 2 | 2.00 |" in (tmp_path / "bench.md").read_text()
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["machine"]["cores"] == str(len(os.sched_getaffinity(0)))
    assert found["tables"][0]["rows"] == [[2, {"median": 2.0, "runs": [3.0, 1.0, 2.0]}]]


def test_parts_that_are_named_alone_are_measured(monkeypatch, lab):
    measured = []
    for part in bench.PARTS:
        monkeypatch.setitem(
            bench.PARTS,
            part,
            lambda _lab, options, part=part: measured.append((part, options.runs)) or [],
        )
    bench.main(["probes", "builds", "--runs", "2"])
    assert measured == [("probes", 2), ("builds", 2)]
    measured.clear()
    bench.main([])
    assert measured == [(part, 5) for part in bench.PARTS]


def test_an_unknown_part_is_refused_with_those_there_are(lab, capsys):
    with pytest.raises(SystemExit):
        bench.main(["fleet"])
    assert "fleets" in capsys.readouterr().err
    assert lab.done == []


def test_make_hands_arguments_on_and_makes_the_environment_of_the_peer():
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "bench", "ARGS=fleets --nodes 10"],
        cwd=project.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "MAKEFLAGS": ""},
    ).stdout
    assert "python -m benchmarks fleets --nodes 10\n" in told
    assert (
        f'cd benchmarks/pyinfra && ../../tools/environment "{project.ROOT}/.venv-pyinfra"' in told
    )
