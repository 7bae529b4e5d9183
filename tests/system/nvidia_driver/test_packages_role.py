"""The driver by packages, on a node that is an image for hosts with GPUs: kernels on disk alone."""

from __future__ import annotations

import pytest

from system import cut_runs
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.executes("driver_packages", "debian12")]

NODE = "node1"
FIRST, SECOND = "535.161.08-1", "535.183.01-1"
NEXT_KERNEL = "6.1.0-99-cloud-amd64"
PINS = "/etc/apt/preferences.d/gpunode-nvidia"


@pytest.fixture(scope="module")
def host(lab):
    with driver_runs.packaged(lab, NODE) as made:
        yield made


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        said = {"gpunode_stack": "r535", **variables}
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **said)

    return run


def version(package):
    return package.partition("-")[0]


def refused(done, *words):
    """Hold a run to having ended with a refusal that has these words."""
    assert done.status != 0
    for word in words:
        assert word in done.messages(), done.messages()


def test_a_branch_is_installed_in_one_version_for_the_kernel_and_held_there(converge, host):
    host.publish([FIRST])
    predicted = converge("--check")
    assert predicted.status == 0, predicted.messages()
    done = converge()
    assert done.status == 0, done.messages()
    assert predicted.changes(NODE) == done.changes(NODE)
    found = host.versions()
    assert found["nvidia-kernel-dkms"] == found["libcuda1"] == found["nvidia-smi"] == FIRST
    assert host.modules() == {host.release: version(FIRST)}
    assert host.kept() == {version(FIRST): {"700", "600"}}
    again = converge()
    assert (again.status, again.changed[NODE]) == (0, 0)
    assert again.plays == ["Probe, plan and refuse"]


@pytest.mark.slow
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
    host.says(f"rm {PINS}; apt-get -q -y purge nvidia-smi")
    told = converge("--check")
    assert "package nvidia-smi is gone" in told.messages()
    done = converge()
    assert done.status == 0, done.messages()
    assert host.versions()["nvidia-smi"] == FIRST
    assert "Pin-Priority" in host.says(f"cat {PINS}")


@pytest.fixture(scope="module")
def lacking(host):
    """The node's packages without one, so that all come in another version; to be as they were."""
    host.says("apt-get -q -y purge nvidia-smi")
    host.add_kernel(NEXT_KERNEL)
    return host.versions()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            {"nvidia-kernel-dkms": "broken-module"},
            ["this kernel is not supported", "no module was replaced"],
        ),
        pytest.param({"libcuda1": "damaged"}, ["Hash Sum mismatch"], marks=pytest.mark.slow),
        pytest.param(
            {"nvidia-smi": "needs-kernel"},
            ["would touch the kernel", "linux-image-cloud-amd64"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_built_or_had_whole_or_would_touch_a_kernel_changes_nothing(
    converge, host, lacking, faults, words
):
    before = host.modules()
    host.publish([SECOND], faults=faults)
    refused(converge(), *words)
    assert (host.versions(), host.modules()) == (lacking, before)
    assert version(SECOND) not in host.says("dkms status; ls /usr/src")
    assert host.kept() == {version(FIRST): {"700", "600"}}


@pytest.mark.slow
def test_a_package_that_fails_halfway_gives_way_to_the_driver_before(converge, host):
    before, modules = host.versions(), host.modules()
    # The archive has the newest alone.
    host.publish([SECOND], faults={"nvidia-smi": "broken-postinst"})
    refused(converge(), "it does not work", f"Driver {version(FIRST)} is back")
    assert host.versions() == before
    assert host.says("dpkg --audit") == ""
    assert host.modules() | modules == host.modules()
    assert set(host.modules().values()) == {version(FIRST)}


def test_once_it_works_every_kernel_has_the_module_though_a_run_was_killed(converge, host, lacking):
    host.publish([SECOND])
    # What a dpkg at work has not written into its table yet.
    at_work = "ls /var/lib/dpkg/updates/[0-9]*"
    arguments = driver_runs.said(gpunode_stack="r535")
    cut_runs.killed(host, at_work, "host", "--limit", NODE, *arguments)
    assert host.says("dpkg --audit")
    done = converge()
    assert done.status == 0, done.messages()
    assert {host.versions()[name] for name in ("libcuda1", "nvidia-smi")} == {SECOND}
    assert host.modules() == dict.fromkeys([host.release, NEXT_KERNEL], version(SECOND))
    assert host.says("dpkg --audit") == ""


def test_the_way_back_is_told(converge, host, lacking):
    again = converge()
    assert (again.status, again.changed[NODE]) == (0, 0)
    assert set(host.kept()) == {version(FIRST), version(SECOND)}
    way = f"apt-get install --allow-downgrades {driver_runs.KEPT}/{version(FIRST)}/*.deb"
    assert f"driver {version(FIRST)}, which is kept on the host: {way}" in again.messages()


@pytest.mark.slow
def test_what_was_installed_by_hand_is_adopted_and_pinned_there(converge, host):
    way = f"apt-get install -q -y --allow-downgrades {driver_runs.KEPT}/{version(FIRST)}/*.deb"
    host.says(way)
    done = converge()
    assert done.status == 0, done.messages()
    assert {host.versions()[name] for name in ("libcuda1", "nvidia-smi")} == {FIRST}
    assert host.modules() == dict.fromkeys([host.release, NEXT_KERNEL], version(FIRST))
    assert f"Pin: version {FIRST}" in host.says(f"cat {PINS}")
    host.says("apt-get -q -y dist-upgrade")
    assert host.versions()["libcuda1"] == FIRST


def test_a_driver_that_is_not_wanted_goes_and_leaves_nothing(converge, host):
    gone = {"nvidia_driver_state": "absent"}
    predicted = converge("--check", **gone)
    done = converge(**gone)
    assert done.status == 0, done.messages()
    assert predicted.changes(NODE) == done.changes(NODE)
    assert (host.versions(), host.modules(), host.kept()) == ({}, {}, {})
    assert host.says(f"ls {PINS} /usr/src | grep -i nvidia || true") == ""
    again = converge(**gone)
    assert (again.status, again.changed[NODE]) == (0, 0)
