"""Commands in units of their own: one that was not run is told from one that failed."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import observe
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import transient_unit


@pytest.fixture(autouse=True)
def systemd(monkeypatch):
    monkeypatch.setattr(transient_unit, "_has_systemd", lambda: True)


def executed(status, errors):
    def run(argv, **_options):
        assert argv[:2] == ["systemd-run", "--unit=gpunode-miniforge.service"]
        return subprocess.CompletedProcess(argv, status, "", errors)

    return transient_unit.execute("miniforge", ["/opt/conda/bin/conda", "info"], run=run)


@pytest.mark.parametrize(
    "errors",
    [
        "Failed to connect to bus: No such file or directory\n",
        "Failed to connect to system scope bus via local transport: Connection refused\n",
        "Failed to start transient service unit: Unit gpunode-miniforge.service was already loaded",
    ],
)
def test_what_systemd_did_not_run_is_told_in_its_words(errors):
    with pytest.raises(transient_unit.NotRun) as caught:
        executed(1, errors)
    assert errors.strip() in caught.value.because
    assert "systemctl status dbus" in caught.value.remedy


def test_a_command_that_failed_has_its_end():
    words = "error: Failed to connect to bus is what I say\n"
    assert executed(1, words).stderr == words


def test_a_conda_that_was_not_run_is_none_that_is_broken(tmp_path):
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "history").write_text("")
    (tmp_path / "conda-meta" / "conda-26.1-0.json").write_text("{}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "conda").write_text("")

    def execute(_argv, _environment):
        raise transient_unit.NotRun("run conda", "Failed to connect to bus", "Look")

    with pytest.raises(transient_unit.NotRun):
        observe.observe(str(tmp_path), [], execute, str(tmp_path / "state"))


def test_without_systemd_a_command_begins_where_nobody_else_puts_anything(monkeypatch, tmp_path):
    monkeypatch.setattr(transient_unit, "_has_systemd", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert transient_unit.execute("miniforge", ["pwd"]).stdout == "/\n"
