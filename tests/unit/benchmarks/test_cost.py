"""What a run costs, by the kernel's count."""

from __future__ import annotations

import pytest

from benchmarks import cost


def test_the_cpu_of_a_group_is_in_seconds(tmp_path):
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\n")
    assert cost.cpu_s(tmp_path) == 2.5


def test_a_group_that_is_not_there_took_none(tmp_path):
    assert cost.cpu_s(tmp_path / "none") == 0.0


def test_what_a_command_took_is_what_its_groups_took_meanwhile(monkeypatch, tmp_path):
    monkeypatch.setattr(cost.cgroup, "hierarchy", lambda: tmp_path)
    (tmp_path / "nodes").mkdir()
    for group, usage in (("run", 1_000_000), ("nodes", 7_000_000)):
        (tmp_path / group).mkdir(exist_ok=True)
        (tmp_path / group / "cpu.stat").write_text(f"usage_usec {usage}\n")
    script = (
        f"echo usage_usec 1500000 >{tmp_path}/run/cpu.stat; "
        f"echo usage_usec 9000000 >{tmp_path}/nodes/cpu.stat; echo $WORD; sleep 0.05; exit 3"
    )
    took, done = cost.Meter("run", "nodes").run(["sh", "-c", script], {"WORD": "said"})
    assert (done.returncode, done.stdout) == (3, "said\n")
    assert (took.controller_s, took.nodes_s) == (0.5, 2.0)
    assert 0.05 <= took.wall_s < 30
    # It went into the group before it became the command.
    assert (tmp_path / "run" / "cgroup.procs").read_text().strip().isdigit()


@pytest.mark.parametrize("status", [0, 1])
def test_a_group_is_made_for_the_first_run(monkeypatch, tmp_path, status):
    monkeypatch.setattr(cost.cgroup, "hierarchy", lambda: tmp_path)
    _took, done = cost.Meter("new", "nodes").run(["sh", "-c", f"exit {status}"], {})
    assert done.returncode == status
    assert (tmp_path / "new").is_dir()
