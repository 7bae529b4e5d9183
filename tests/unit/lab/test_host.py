"""Where no lab can run, one sentence says why."""

from __future__ import annotations

import os

import pytest

from lab import __main__ as command_line
from lab import cgroup, host, inherit


@pytest.fixture
def possible(monkeypatch):
    """A machine that can hold a lab, as far as can be seen without trying."""
    monkeypatch.setattr(inherit, "os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroup, "hierarchy", lambda: "/sys/fs/cgroup")
    return monkeypatch


def test_another_distribution_is_named(possible):
    possible.setattr(inherit, "os_release", lambda: {"ID": "fedora"})
    assert "'fedora'" in host.obstacle()


def test_an_ordinary_user_is_named(possible):
    possible.setattr(os, "geteuid", lambda: 1000)
    assert "1000" in host.obstacle()


def test_a_missing_cgroup_hierarchy_is_named(possible):
    possible.setattr(cgroup, "hierarchy", lambda: None)
    assert "cgroup v2" in host.obstacle()


@pytest.mark.parametrize("verb", ["up", "down", "status"])
def test_the_command_ends_with_status_3_and_one_sentence(possible, capsys, verb):
    possible.setattr(os, "geteuid", lambda: 1000)
    assert command_line.main([verb]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_a_limit_that_is_high_enough_is_left_alone(tmp_path):
    limit = tmp_path / "limit"
    limit.write_text("9000\n")
    host.raise_limit(limit, 8192)
    assert limit.read_text() == "9000\n"


def test_a_limit_that_is_too_low_is_raised(tmp_path):
    limit = tmp_path / "limit"
    limit.write_text("128\n")
    host.raise_limit(limit, 8192)
    assert limit.read_text() == "8192\n"
