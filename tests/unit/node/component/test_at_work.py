"""What a module does before its work: it takes the lock, and clears what a killed run left."""

from __future__ import annotations

import contextlib
import os
import time
from types import SimpleNamespace

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import at_work


def test_what_a_killed_run_had_not_put_in_place_goes_be_it_what_a_component_keeps(
    tmp_path, monkeypatch
):
    kept = tmp_path / "mlnx_ofed"
    kept.mkdir()
    for name in (".gpunode-abc", "mlnx_ofed/.gpunode-def", "mlnx_ofed/kept.tgz", "receipt.json"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(at_work.own_paths, "STATE_DIR", str(tmp_path))
    monkeypatch.setattr(at_work, "_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(at_work.own_paths, "CACHE_DIR", str(tmp_path / "no-cache"))
    monkeypatch.setattr(at_work.node_lock, "held", lambda _purpose: contextlib.nullcontext())
    with at_work.at_work(SimpleNamespace(check_mode=True), "look"):
        assert (kept / ".gpunode-def").exists()
    with at_work.at_work(SimpleNamespace(check_mode=False), "work"):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"mlnx_ofed", "mlnx_ofed/kept.tgz", "receipt.json"}


def test_what_has_come_of_a_download_stays_for_a_day(tmp_path, monkeypatch):
    day_s = 24 * 60 * 60
    ages_s = {
        "miniforge/.gpunode-old": day_s + 60,
        "miniforge/.gpunode-new": day_s - 60,
        # A clock that was set back, or a run of this very moment.
        "nvidia_driver/.gpunode-to-come": -60,
        "nvidia_driver/whole.run": 9 * day_s,
    }
    for name, age_s in ages_s.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    monkeypatch.setattr(at_work.own_paths, "STATE_DIR", str(tmp_path / "no-state"))
    monkeypatch.setattr(at_work, "_FOLDERS", ())
    monkeypatch.setattr(at_work.own_paths, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(at_work.node_lock, "held", lambda _purpose: contextlib.nullcontext())
    with at_work.at_work(SimpleNamespace(check_mode=True), "look"):
        assert (tmp_path / "miniforge/.gpunode-old").exists()
    with at_work.at_work(SimpleNamespace(check_mode=False), "work"):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert left == {*ages_s} - {"miniforge/.gpunode-old"}
