"""Passwords that a killed run left lying there are gone once conda is at work again."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import (
    converge,
    remains,
)


@pytest.mark.skipif(os.geteuid() != 0, reason="notes belong to root; run as root")
def test_what_a_killed_run_left_goes_and_the_note_about_it(tmp_path):
    left, state_dir = tmp_path / "conda_env", tmp_path / "state"
    left.mkdir()
    (left / "web-0123456789ab.netrc").write_text("machine m login jane password hush")
    remains.clear((str(left), str(tmp_path / "never")), str(state_dir))
    assert not left.exists()
    assert list((state_dir / "building").iterdir()) == []


class Begun(Exception):
    pass


@pytest.mark.parametrize("check_mode", [True, False])
def test_it_goes_before_all_else_and_stays_in_check_mode(monkeypatch, check_mode):
    def clear():
        raise Begun

    monkeypatch.setattr(remains, "clear", clear)
    with pytest.raises(KeyError if check_mode else Begun):
        converge.converge(None, {}, check_mode)
