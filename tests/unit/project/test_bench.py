"""What `make bench` leaves behind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bench


def fails(*_arguments):
    yield "measured"
    raise AssertionError("a run did not end well")


def test_a_measurement_that_fails_leaves_as_many_nodes_as_there_were(monkeypatch):
    done = []
    lab = SimpleNamespace(nodes=[1, 2, 3], fresh=lambda name: done.append(f"fresh {name}"))
    monkeypatch.setattr(bench, "Lab", lambda *_arguments, **_options: lab)
    monkeypatch.setattr(bench, "fleets", fails)
    monkeypatch.setattr(bench.commands, "up", lambda _lab, count: done.append(f"up {count}"))
    with pytest.raises(AssertionError, match="did not end well"):
        bench.main()
    assert done == ["up 3", "fresh node1"]
