"""The driver by packages, on a node that is an image for hosts with GPUs: kernels on disk alone."""

from __future__ import annotations

import json

import pytest

from lab import fleet, kernel, textfile
from lab.repository import Repository

pytestmark = pytest.mark.lab

NODE = "node1"
FIRST, SECOND, OTHER = "535.161.08-1", "535.183.01-1", "550.90.07-1"
SOURCE = "/etc/apt/sources.list.d/standin.sources"
ONLY = {"conda_env_list": [], "gunicorn_app_list": []}


class Host:
    """A node whose distribution is the repository, once it has what the driver stands on."""

    def __init__(self, lab):
        self._lab = lab
        self.tree = lab.tree(NODE)
        self.release = kernel.set_up(lab, NODE, "unattended-upgrades")
        self.repository = Repository(self.tree)
        self.says("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")

    def publish(self, versions, security=(), faults=None):
        self.repository.publish("bookworm", "debian", versions, faults=faults)
        suites = ["bookworm"]
        if security:
            self.repository.publish(
                "bookworm-security", "debian", security, label="Debian-Security"
            )
            suites.append("bookworm-security")
        textfile.put(textfile.inside(self.tree, SOURCE), self.repository.source(*suites))
        self.says("apt-get update -q")

    def says(self, command, timeout_s=120):
        answer = self._lab.ssh(NODE, f"sudo sh -c '{command}'", timeout_s)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.strip()

    def versions(self):
        """Return {package: version} of the driver's packages."""
        listed = self.says(r"dpkg-query -W -f \${db:Status-Abbrev}\${Package}=\${Version}\\n")
        rows = [line[3:].split("=") for line in listed.splitlines() if line.startswith("ii ")]
        return {name: found for name, found in rows if "nvidia" in name or name == "libcuda1"}

    def module(self):
        """Return the version of the module of the node's kernel."""
        path = f"/lib/modules/{self.release}/updates/dkms/nvidia-current.ko"
        return self.says(f"modinfo -F version {path}")


@pytest.fixture(scope="module")
def host(lab):
    lab.fresh(NODE)
    made = Host(lab)
    yield made
    made.repository.close()
    lab.fresh(NODE)


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        said = json.dumps({**ONLY, "gpunode_stack": "r535", **variables})
        return fleet.site("--limit", NODE, "-e", said, *arguments, log=tmp_path / "ssh")

    return run


def test_a_branch_is_installed_in_one_version_for_the_kernel_and_held_there(converge, host):
    host.publish([FIRST])
    predicted = converge("--check")
    assert predicted.status == 0, predicted.messages()
    done = converge()
    assert done.status == 0, done.messages()
    assert predicted.changes(NODE) == done.changes(NODE)
    found = host.versions()
    assert found["nvidia-kernel-dkms"] == found["libcuda1"] == found["nvidia-smi"] == FIRST
    assert host.module() == FIRST.partition("-")[0]
    again = converge()
    assert (again.status, again.changed[NODE]) == (0, 0)
    assert again.plays == ["Probe, plan and refuse"]


def test_a_security_update_is_named_and_held_back_from_unattended_upgrades(converge, host):
    host.publish([FIRST], security=[SECOND])
    told = converge()
    assert (told.status, told.changed[NODE]) == (0, 0)
    assert f"held at {FIRST}, and the repository offers {SECOND}, a security update" in (
        told.messages()
    )
    host.says("unattended-upgrade --debug", timeout_s=300)
    assert host.versions()["libcuda1"] == FIRST


def test_a_package_that_was_upgraded_or_removed_by_hand_is_reported_and_repaired(converge, host):
    host.says("rm /etc/apt/preferences.d/gpunode-nvidia; apt-get -q -y purge nvidia-smi")
    told = converge("--check")
    assert "package nvidia-smi is gone" in told.messages()
    done = converge()
    assert done.status == 0, done.messages()
    assert host.versions()["nvidia-smi"] == FIRST
    assert "Pin-Priority" in host.says("cat /etc/apt/preferences.d/gpunode-nvidia")
