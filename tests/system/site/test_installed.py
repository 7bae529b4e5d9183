"""The collection as people install it: each playbook, and the example of each role's README.

It is run from a folder of the user's own, with an ansible.cfg of the user's own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from system import playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

# Debian 13.
NODE = "node2"
LAB = PROJECT / "inventory" / "lab"
ROLES = sorted(path.parents[1].name for path in PROJECT.glob("roles/*/meta/argument_specs.yml"))
# The driver's packages are some hundred megabytes.
_PATIENCE_S = 1200
#: What a role says that cannot do its work on one node without GPUs.
REFUSES = {"nccl": "node2 alone: there is nobody for it to meet"}
EXAMPLE = re.compile(r"^## Shortest example\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def galaxy(*arguments, folder):
    subprocess.run(
        [Path(sys.executable).with_name("ansible-galaxy"), "collection", *arguments],
        cwd=folder,
        timeout=120,
        check=True,
        capture_output=True,
    )


def files_below(folder):
    """Return {path: (size, time of its last change)}; what Python compiles is no output."""
    return {
        path: (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of a user who has the collection installed: hosts, their files, and settings."""
    folder = tmp_path_factory.mktemp("home")
    galaxy("build", "--output-path", folder, folder=PROJECT)
    (archive,) = folder.glob("gpunode-stack-*.tar.gz")
    (folder / "ansible.cfg").write_text("[defaults]\ncollections_path = collections\n")
    galaxy("install", "--no-deps", "--collections-path", "collections", archive, folder=folder)
    shutil.copy(LAB / "hosts.yml", folder)
    files = folder / "files"
    files.mkdir()
    shutil.copy(LAB / "generated" / "ob_cuda.lock", files / "web.lock")
    shutil.copy(LAB / "files" / "ob_cuda.requirements.txt", files / "web.requirements.txt")
    shutil.copytree(PROJECT / "files" / "ob_cuda", files / "web")
    return folder


@pytest.fixture(scope="module")
def fresh(lab):
    """The node as it is before anything of ours came to it, and again afterwards."""
    lab.fresh(NODE)
    yield lab.node(NODE)
    lab.fresh(NODE)


@pytest.fixture
def run(fresh, home, tmp_path):
    """Run a playbook in that folder; the installed collection stays as it is."""
    installed = home / "collections"

    def run(playbook, *arguments):
        before = files_below(installed)
        assert before
        done = playbooks.run(
            playbook,
            *("--inventory", "hosts.yml", "--limit", NODE, *arguments),
            log=tmp_path / "ssh",
            timeout_s=_PATIENCE_S,
            folder=home,
        )
        assert files_below(installed) == before
        return done

    return run


@pytest.fixture
def example(run, home):
    """Run the example of a role."""

    def example(role, *arguments):
        readme = (PROJECT / "roles" / role / "README.md").read_text(encoding="utf-8")
        playbook = home / f"{role}.yml"
        playbook.write_text(EXAMPLE.search(readme)[1])
        return run(playbook, *arguments)

    return example


@pytest.mark.parametrize("role", ROLES)
def test_the_example_works_in_check_mode_on_a_fresh_host(example, role):
    said = example(role, "--check")
    if role in REFUSES:
        assert said.status != 0
        assert REFUSES[role] in said.messages()
    else:
        assert said.status == 0, said.messages()
        assert role in [task.split(" : ")[0].split(".")[-1] for task, _result in said.results(NODE)]


@pytest.mark.slow
def test_the_example_of_an_application_serves_it_and_once_more_changes_nothing(example, fresh):
    done = example("gunicorn_app")
    assert done.status == 0, done.messages()
    with urllib.request.urlopen(f"http://{fresh.address}:8000/healthz", timeout=10) as answer:
        assert answer.status == 200
    again = example("gunicorn_app")
    assert (again.status, again.changed) == (0, {NODE: 0}), again.messages()


def test_a_misspelt_variable_is_refused_by_a_role_alone(example):
    said = example("conda_env", "--check", "-e", "conda_env_kep=2")
    assert said.status != 0
    assert (
        "variable conda_env_kep: no role reads it. Did you mean conda_env_keep?" in said.messages()
    )
    own = ("-e", "{my_kep: 2, conda_env_kep: 2, gpunode_own_variables: [conda_env_kep]}")
    said = example("conda_env", "--check", *own)
    assert said.status == 0, said.messages()


def test_each_playbook_works_where_the_collection_is_installed(run, home):
    wanted = {
        "conda_env_list": [{"name": "solved", "packages": ["python=3.11"]}],
        "preflight_json": "plans/plan.json",
    }
    said = ("--extra-vars", json.dumps(wanted))
    refused = run("gpunode.stack.plan", *said)
    command = f"ansible-playbook --inventory {home}/hosts.yml gpunode.stack.lock"
    assert command in refused.messages()
    assert json.loads((home / "plans" / "plan.json").read_text())["status"] == "refused"
    for playbook in ("lock", "site", "site", "verify", "releases"):
        done = run(f"gpunode.stack.{playbook}", *said)
        assert done.status == 0, done.messages()
    assert (home / "files" / "solved.lock").is_file()
    assert "environment solved in /opt/gpunode/envs" in done.messages()
    assert json.loads((home / "plans" / "plan.json").read_text())["status"] == "converged"
    assert REFUSES["nccl"] in run("gpunode.stack.nccl", *said).messages()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "package", "version"),
    [
        pytest.param(
            *("mlnx_ofed", "rdma-core", ""),
            marks=pytest.mark.executes("rdma_distribution", "debian13"),
        ),
        pytest.param(
            *("nvidia_driver", "libcuda1", "550."),
            marks=pytest.mark.executes("driver_packages", "debian13"),
        ),
    ],
)
def test_the_example_installs_what_it_says_and_once_more_changes_nothing(
    example, lab, role, package, version
):
    done = example(role)
    assert done.status == 0, done.messages()
    listed = lab.ssh(NODE, f"dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {package}")
    assert listed.stdout.startswith(f"ii {version}"), listed.stdout
    again = example(role)
    assert (again.status, again.changed) == (0, {NODE: 0}), again.messages()
