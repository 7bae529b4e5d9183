"""The scripts in tools/ that make the tool environments."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project


def run(tool, *arguments, cwd=project.ROOT, **environment):
    """Run a script of tools/ and return its CompletedProcess."""
    return subprocess.run(
        [project.ROOT / "tools" / tool, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def program(tmp_path):
    """Makes a shell program with the given body; its path comes back."""

    def make(name, body):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def test_an_old_python_is_refused_in_one_sentence_that_names_the_remedy(program, tmp_path):
    code = "import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])"
    old = program("python3", f'exec {sys.executable} -c "{code}" "$2"')
    result = run("environment", tmp_path / "env", old)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"{old} is 3.9" in result.stderr
    assert "PYTHON=" in result.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.slow
def test_an_install_that_failed_leaves_no_stamp_and_the_next_one_starts_over(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"gpunode-is-no-package==1 --hash=sha256:{'0' * 64}\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    failed = run("environment", "env", sys.executable, cwd=tmp_path, **offline)
    assert failed.returncode != 0
    assert not (tmp_path / "env" / "complete").exists()
    (tmp_path / "env" / "left-over").touch()
    requirements.write_text("# nothing\n")
    again = run("environment", "env", sys.executable, cwd=tmp_path, **offline)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "env" / "complete").exists()
    assert not (tmp_path / "env" / "left-over").exists()


@pytest.mark.slow
def test_what_runs_in_it_seldom_looks_for_garbage(tmp_path):
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    assert run("environment", "env", sys.executable, cwd=tmp_path).returncode == 0
    told = subprocess.run(
        [tmp_path / "env" / "bin" / "python", "-c", "import gc; print(gc.get_threshold()[0])"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert int(told) >= 1_000_000


def test_a_command_that_only_stands_for_a_python_is_passed_over(program, tmp_path):
    for version in ("3.11", "3.12", "3.13", "3.14"):
        shim = program(f"python{version}", "echo command not found >&2; exit 127")
    path = f"{shim.parent}:{os.environ['PATH']}"
    result = run("second-pair", HOME=str(tmp_path), PATH=path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Second Python and core: no Python 3.1")
    assert result.stdout.endswith("not run.\n")
