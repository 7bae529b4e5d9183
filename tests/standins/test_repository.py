"""The stand-in for archives of driver packages does with a real apt what those archives do."""

from __future__ import annotations

import pytest

from lab import textfile
from standins.repository import FLAT, Repository

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE, SUITE = "node1", "bookworm"
OLD, NEW, CUDA = "535.161.08-1", "535.183.01-1", "580.95.05-1"
# All of them of one version, as pins would have it.
PINNED = f"-o Dir::Etc::preferences=/etc/apt/{OLD} "
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "


class Host:
    """A node with a repository."""

    def __init__(self, lab):
        self._lab = lab
        self.tree = lab.tree(NODE)
        self.repository = Repository(self.tree)
        self.put(f"/etc/apt/{OLD}", f"Package: *nvidia* libcuda1\nPin: version {OLD}\n"
                                    "Pin-Priority: 1001\n")  # fmt: skip

    def put(self, path, text):
        textfile.put(textfile.inside(self.tree, path), text)

    def offer(self, *suites):
        """Make the node's apt see these suites besides those of its mirror."""
        self.put("/etc/apt/sources.list.d/standin.sources", self.repository.source(*suites))
        return self.says("apt-get update -q")

    def says(self, command):
        """Return what a command prints, and its status as the last word."""
        return self._lab.ssh(NODE, f"sudo sh -c '{command} 2>&1; echo $?'", timeout_s=300).stdout


@pytest.fixture(scope="module")
def host(lab):
    lab.fresh(NODE)
    made = Host(lab)
    yield made
    made.repository.close()
    lab.fresh(NODE)


@pytest.fixture(autouse=True)
def _without_packages(host):
    yield
    host.says('apt-get -q -y purge "*nvidia*" libcuda1; apt-get clean')


def test_packages_come_signed_from_suites_and_from_a_flat_repository(host):
    host.repository.publish(SUITE, "debian", [OLD, NEW])
    host.repository.publish(FLAT, "cuda", [CUDA])
    assert host.offer(SUITE).endswith("\n0\n")
    table = host.says("apt-cache madison libcuda1").splitlines()
    assert [line.split("|")[1].strip() for line in table[:-1]] == [NEW, OLD]
    host.offer(FLAT)
    assert CUDA in host.says("apt-cache madison nvidia-driver-cuda")


def test_what_another_key_signed_is_not_taken(host):
    host.repository.publish(SUITE, "debian", [OLD])
    other = Repository(host.tree / "tmp" / "other")
    source, _field, _key = host.repository.source(SUITE).partition("Signed-By")
    _source, field, key = other.source(SUITE).partition("Signed-By")
    host.put("/etc/apt/sources.list.d/standin.sources", source + field + key)
    other.close()
    assert "is not signed" in host.says("apt-get update -q")


def test_parts_of_the_driver_stand_on_those_of_the_same_version(host):
    host.repository.publish(SUITE, "debian", [OLD, NEW])
    host.offer(SUITE)
    told = host.says(f"{INSTALL} libcuda1={OLD}")
    assert f"nvidia-alternative (= {OLD}) but {NEW} is to be installed" in told


def test_libraries_and_programs_are_where_debian_has_them(host):
    host.repository.publish(SUITE, "debian", [OLD, NEW])
    host.offer(SUITE)
    told = host.says(f"{INSTALL} {PINNED} libcuda1 nvidia-smi libnvidia-cfg1 nvidia-persistenced")
    assert told.endswith("\n0\n"), told
    library = host.says("readlink --canonicalize /usr/lib/x86_64-linux-gnu/libcuda.so.1")
    assert library == "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.535.161.08\n0\n"
    assert host.says("nvidia-smi").endswith("0\n")
    assert host.says("systemctl is-enabled nvidia-persistenced.service") == "enabled\n0\n"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("broken-postinst", "ERROR: it does not work"),
        ("damaged", "Hash Sum mismatch"),
        ("needs-kernel", "linux-image-cloud-amd64"),
    ],
)
def test_a_fault_is_what_apt_makes_of_it(host, fault, words):
    host.repository.publish(SUITE, "debian", [OLD], faults={"nvidia-smi": fault})
    host.offer(SUITE)
    told = host.says(f"{INSTALL} {'--simulate ' * (fault == 'needs-kernel')} nvidia-smi")
    assert words in told


def test_what_moved_on_is_no_longer_there_for_older_lists(host):
    host.repository.publish(SUITE, "debian", [OLD])
    host.offer(SUITE)
    host.repository.publish(SUITE, "debian", [NEW])
    assert "Failed to fetch" in host.says(f"{INSTALL} nvidia-smi")


def test_a_dead_repository_leaves_apt_without_its_lists(host):
    host.offer("nowhere")
    assert "Release" in host.offer("nowhere")
    assert "no installation candidate" in host.says(f"{INSTALL} libcuda1")


def test_the_module_is_built_by_dkms_and_one_that_cannot_be_fails_the_package(host):
    host.repository.publish(SUITE, "debian", [OLD])
    host.offer(SUITE)
    host.says(f"{INSTALL} dkms linux-headers-cloud-amd64")
    told = host.says(f"{INSTALL} nvidia-kernel-dkms")
    assert told.endswith("\n0\n"), told
    assert "nvidia-current/535.161.08" in host.says("dkms status")
    host.repository.publish(SUITE, "debian", [NEW], faults={"nvidia-kernel-dkms": "broken-module"})
    host.offer(SUITE)
    assert "Bad return status for module build" in host.says(f"{INSTALL} nvidia-kernel-dkms")
