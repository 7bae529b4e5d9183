"""Commands in units of their own: one that was not run is told from one that failed."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import observe
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    commands,
    confinement,
    transient_unit,
)


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
    with pytest.raises(commands.NotRun) as caught:
        executed(1, errors)
    assert errors.strip() in caught.value.because
    assert "systemctl status dbus" in caught.value.remedy


def test_a_command_that_failed_has_its_end():
    words = "error: Failed to connect to bus is what I say\n"
    assert executed(1, words).stderr == words


def _not_run():
    raise commands.NotRun("run conda", "Failed to connect to bus", "Look")


def _takes_too_long():
    raise subprocess.TimeoutExpired("conda", 600)


@pytest.mark.parametrize(
    "end",
    [
        _not_run,
        _takes_too_long,
        lambda: subprocess.CompletedProcess([], 1, "", "[Errno 28] No space left on device"),
    ],
    ids=["not run", "too long", "full disk"],
)
def test_a_conda_that_was_not_run_to_its_end_is_none_that_is_broken(tmp_path, end):
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "history").write_text("")
    (tmp_path / "conda-meta" / "conda-26.1-0.json").write_text("{}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "conda").write_text("")

    def execute(_argv, _environment):
        return end()

    with pytest.raises(commands.NotRun):
        observe.observe(str(tmp_path), [], execute, str(tmp_path / "state"))


def test_without_systemd_a_command_begins_where_nobody_else_puts_anything(monkeypatch, tmp_path):
    monkeypatch.setattr(transient_unit, "_has_systemd", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert transient_unit.execute("miniforge", ["pwd"]).stdout == "/\n"


def in_unit(answers, told=None, **limits):
    """Execute a confined command; return its end, and the settings of each unit that it was.

    What is told of it comes into a list.
    """
    asked = []
    told = [] if told is None else told

    def run(argv, **_options):
        settings = [part.partition("=")[2] for part in argv if part.startswith("--property=")]
        asked.append(settings[1:])
        return subprocess.CompletedProcess(argv, *answers[len(asked) - 1])

    argv = confinement.confined(["/opt/conda/bin/conda", "info"], ["/opt/conda"], **limits)
    return transient_unit.execute("miniforge", argv, run=run, warn=told.append), asked


def test_a_confined_command_has_what_it_needs_and_no_more():
    _done, (settings,) = in_unit([(0, "", "")])
    assert {"PrivateNetwork=yes", "PrivateTmp=yes", "NoNewPrivileges=yes"} < set(settings)
    _done, (settings,) = in_unit([(0, "", "")], network=True, writable=["/usr/src"])
    assert "PrivateNetwork=yes" not in settings
    assert {"ProtectSystem=full", "ReadWritePaths=-/usr/src"} < set(settings)


@pytest.mark.parametrize(
    "errors",
    [
        "Unknown assignment: ProtectControlGroups=yes\n",
        "Failed to start transient service unit: Cannot set property RestrictRealtime, or unknown "
        "property.\n",
    ],
)
def test_a_systemd_that_is_too_old_to_confine_runs_it_as_it_is(errors):
    done, asked = in_unit([(1, "", errors), (0, "{}", "")])
    assert (done.stdout, asked[1]) == ("{}", [])


@pytest.mark.parametrize("status", [225, 226])
def test_a_host_without_namespaces_runs_it_with_what_takes_none_and_tells(status):
    told = []
    done, asked = in_unit([(status, "", ""), (status, "", ""), (0, "{}", "")], told)
    assert done.stdout == "{}"
    assert {setting.partition("=")[0] for setting in asked[2]} == {
        "NoNewPrivileges",
        "RestrictRealtime",
        "CapabilityBoundingSet",
    }
    assert len(told) == 1
    assert f"(status {status}" in told[0]


@pytest.mark.parametrize("status", [225, 226])
def test_no_command_ends_its_confinement_by_how_it_ends(status):
    told = []
    done, asked = in_unit([(status, "", ""), (0, "", "")], told)
    assert (done.returncode, len(asked), told) == (status, 2, [])
    assert asked[0] == asked[1]
    done, asked = in_unit([(status, "", "my own")], told)
    assert (done.stderr, len(asked), told) == ("my own", 1, [])


@pytest.mark.parametrize(
    "errors",
    [
        "conda: error",
        "cc1: warning: unknown property 'x'\n",
        "  File setup.py\nAttributeError: Cannot set property name\n",
        "npm: Failed to start transient service unit: or unknown property.\n",
    ],
)
def test_a_command_that_failed_is_not_run_again(errors):
    done, asked = in_unit([(1, "", errors)])
    assert (done.returncode, len(asked)) == (1, 1)
