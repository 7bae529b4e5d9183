"""The local channel and its installer, used as a node uses them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import channel
from lab import paths as lab_paths
from lab.channel import local, public, server, toolbox
from lab.channel.local import interpreter

pytestmark = pytest.mark.lab

# Of 127.0.0.0/8, so that the lab's own server is not disturbed.
ADDRESS = f"127.78.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"
ALGORITHMS = ("md5", "sha256")


def run(*argv, check=True):
    """Run a command as a node would: with nothing of this machine's environment."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=300, check=check
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of its own; what its lab leaves on the machine is removed."""
    paths = lab_paths.LabPaths.of(tmp_path_factory.mktemp("checkout"))
    yield paths
    channel.stop(paths)
    shutil.rmtree(paths.state, ignore_errors=True)


@pytest.fixture(scope="module")
def offered(checkout):
    """What the lab offers its nodes where no public channel can be reached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(public, "is_reachable", lambda: False)
        yield channel.ensure(checkout, ADDRESS)


@pytest.fixture(scope="module")
def served(offered, checkout):
    """The folder behind the server."""
    tools = toolbox.ensure(lab_paths.ROOT)
    return lab_paths.ROOT / "channel" / local.digest(interpreter.running(), tools)


@pytest.fixture(scope="module")
def conda(offered, served, tmp_path_factory):
    """A conda installed by the installer, set up as a mirror's documentation says."""
    prefix = tmp_path_factory.mktemp("conda") / "miniforge3"
    run("bash", local.installer_path(served), "-b", "-p", prefix)
    configuration = {
        "channels": ["defaults"],
        "default_channels": offered["miniforge_default_channels"],
        "custom_channels": {public.CHANNEL: offered["miniforge_channel_alias"]},
    }
    (prefix / ".condarc").write_text(json.dumps(configuration), encoding="utf-8")
    return prefix


@pytest.fixture(scope="module")
def environment(conda, offered, tmp_path_factory):
    """An environment made from the lock."""
    prefix = tmp_path_factory.mktemp("environment") / "e"
    run(conda / "bin/conda", "create", "-y", "-p", prefix, "--file", offered["lab_locks"]["md5"])
    return prefix


def _requests(checkout):
    """Return the paths that were asked for, in order."""
    return re.findall(r'"(?:GET|HEAD) (\S+) ', server.log(checkout.state).read_text("utf-8"))


def _locked(path):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.split("#") for line in lines[lines.index("@EXPLICIT") + 1 :]]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_digest_of_a_lock_is_that_of_the_served_file(offered, served, algorithm):
    locked = _locked(offered["lab_locks"][algorithm])
    assert len(locked) > 5
    for url, digest in locked:
        content = (served / url.removeprefix(f"{server.url(ADDRESS)}/")).read_bytes()
        assert digest.rpartition(":")[2] == hashlib.new(algorithm, content).hexdigest()


def test_the_installers_digest_is_offered_with_it(offered, served):
    path = served / offered["miniforge_url"].removeprefix(f"{server.url(ADDRESS)}/")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == offered["miniforge_sha256"]


def test_a_second_time_costs_nothing_and_leaves_locks_and_server(offered, checkout):
    files = [Path(path) for path in offered["lab_locks"].values()]
    files.append(checkout.state / "channel.process")
    before = [(path.stat().st_mtime_ns, path.stat().st_ino) for path in files]
    assert channel.ensure(checkout, ADDRESS) == offered
    assert [(path.stat().st_mtime_ns, path.stat().st_ino) for path in files] == before


def test_a_lock_that_was_made_from_something_else_is_made_again(offered, checkout):
    path = Path(offered["lab_locks"]["md5"])
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("gunicorn=23", "gunicorn=22"), encoding="utf-8")
    channel.ensure(checkout, ADDRESS)
    assert path.read_text(encoding="utf-8") == good


def test_the_installed_conda_has_the_version_the_installer_names(conda, offered):
    version = offered["miniforge_version"].partition("-")[0]
    assert run(conda / "bin/conda", "--version").stdout.strip() == f"conda {version}"
    assert list((conda / "conda-meta").glob(f"conda-{version}-*.json"))
    assert (conda / "conda-meta" / "history").is_file()


def test_the_installer_refuses_a_prefix_that_is_there(conda, served):
    done = run("bash", local.installer_path(served), "-b", "-p", conda, check=False)
    assert done.returncode != 0
    assert f"already exists: '{conda}'" in done.stderr


def test_the_installer_takes_a_prefix_that_is_there_when_told_to_update(served, tmp_path):
    install = ("bash", local.installer_path(served), "-b", "-u", "-p", tmp_path)
    run(*install)
    (record,) = (tmp_path / "conda-meta").glob("conda-[0-9]*.json")
    record.rename(record.with_name("conda-4.9.2-0.json"))
    (tmp_path / "envs" / "own").mkdir()
    run(*install)
    assert record.exists()
    assert not record.with_name("conda-4.9.2-0.json").exists()
    assert (tmp_path / "envs" / "own").exists()
    assert run(tmp_path / "bin/conda", "--version").returncode == 0


def test_an_environment_from_the_lock_runs_what_is_in_it(environment):
    assert run(environment / "bin/gunicorn", "--version").stdout == "gunicorn (version 23.0.0)\n"
    said = run(
        environment / "bin/python", "-c", "import flask, ssl, sqlite3; print(flask.__file__)"
    )
    assert said.stdout.startswith(f"{environment}/lib/python{interpreter.running().minor}/")


def test_an_environment_has_nothing_but_the_lock(environment, offered):
    wanted = {
        url.rpartition("/")[2].removesuffix(".conda")
        for url, _digest in _locked(offered["lab_locks"]["md5"])
    }
    found = {path.stem for path in (environment / "conda-meta").glob("*.json")}
    assert found == wanted


def test_pip_finds_no_broken_requirement_in_an_environment(environment):
    assert "No broken requirements" in run(environment / "bin/pip", "check").stdout


def test_conda_runs_a_program_of_an_environment(conda, environment):
    done = run(conda / "bin/conda", "run", "-p", environment, "gunicorn", "--version")
    assert done.stdout.strip() == "gunicorn (version 23.0.0)"


def test_a_lock_with_a_wrong_md5_is_refused_by_conda(conda, tmp_path):
    url = f"{server.url(ADDRESS)}/{local.CLOUD}/{public.CHANNEL}/noarch/flask-3.0.3-py_0.conda"
    lock = tmp_path / "lock"
    lock.write_text(f"@EXPLICIT\n{url}#{'0' * 32}\n", encoding="utf-8")
    arguments = ("create", "-y", "--json", "-p", tmp_path / "e", "--file", lock)
    done = run(conda / "bin/conda", *arguments, check=False)
    assert "ChecksumMismatchError" in done.stdout


def test_a_solver_finds_the_older_version_on_the_default_channels_and_a_lock_replaces_it(
    conda, offered, checkout, tmp_path
):
    before = len(_requests(checkout))
    prefix = tmp_path / "e"
    run(conda / "bin/conda", "create", "-y", "-p", prefix, "pip", "gunicorn=22")
    assert run(prefix / "bin/gunicorn", "--version").stdout == "gunicorn (version 22.0.0)\n"
    asked = _requests(checkout)[before:]
    assert asked
    assert all(path.startswith(("/anaconda/pkgs/main/", "/anaconda/pkgs/r/")) for path in asked)
    run(conda / "bin/conda", "install", "-y", "-p", prefix, "--file", offered["lab_locks"]["md5"])
    assert run(prefix / "bin/gunicorn", "--version").stdout == "gunicorn (version 23.0.0)\n"
    run(conda / "bin/conda", "remove", "-y", "--force", "--offline", "-p", prefix, "gunicorn")
    assert not (prefix / "bin/gunicorn").exists()


def test_a_named_channel_is_taken_from_where_custom_channels_says(conda, checkout, tmp_path):
    before = len(_requests(checkout))
    arguments = ("create", "-y", "-p", tmp_path / "e", "--override-channels", "-c", public.CHANNEL)
    run(conda / "bin/conda", *arguments, "python_abi")
    asked = _requests(checkout)[before:]
    assert asked
    assert all(path.startswith("/anaconda/cloud/conda-forge/") for path in asked)
