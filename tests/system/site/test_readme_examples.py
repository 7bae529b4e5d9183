"""The example with which each role's README begins, run on a lab node as it stands there."""

from __future__ import annotations

import re
import shutil
import urllib.request

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


@pytest.fixture(scope="module")
def fresh(lab):
    """The node as it is before anything of ours came to it, and again afterwards."""
    lab.fresh(NODE)
    yield lab.node(NODE)
    lab.fresh(NODE)


@pytest.fixture
def example(fresh, tmp_path):
    """Run the example of a role beside an inventory that has the files the examples name."""
    shutil.copy(LAB / "hosts.yml", tmp_path)
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(LAB / "generated" / "ob_cuda.lock", files / "web.lock")
    shutil.copy(LAB / "files" / "ob_cuda.requirements.txt", files / "web.requirements.txt")
    shutil.copytree(PROJECT / "files" / "ob_cuda", files / "web")

    def run(role, *arguments):
        readme = (PROJECT / "roles" / role / "README.md").read_text(encoding="utf-8")
        playbook = tmp_path / f"{role}.yml"
        playbook.write_text(EXAMPLE.search(readme)[1])
        return playbooks.run(
            playbook,
            *("--inventory", tmp_path / "hosts.yml", "--limit", NODE, *arguments),
            log=tmp_path / "ssh",
            timeout_s=_PATIENCE_S,
        )

    return run


@pytest.mark.parametrize("role", ROLES)
def test_the_example_works_in_check_mode_on_a_fresh_host(example, role):
    said = example(role, "--check")
    if role in REFUSES:
        assert said.status != 0
        assert REFUSES[role] in said.messages()
    else:
        assert said.status == 0, said.messages()
        assert role in [task.split(" : ")[0].split(".")[-1] for task, _result in said.results(NODE)]


def test_the_example_of_an_application_serves_it_and_once_more_changes_nothing(example, fresh):
    done = example("gunicorn_app")
    assert done.status == 0, done.messages()
    with urllib.request.urlopen(f"http://{fresh.address}:8000/healthz", timeout=10) as answer:
        assert answer.status == 200
    again = example("gunicorn_app")
    assert (again.status, again.changed) == (0, {NODE: 0}), again.messages()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "package", "version"),
    [("mlnx_ofed", "rdma-core", ""), ("nvidia_driver", "libcuda1", "550.")],
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
