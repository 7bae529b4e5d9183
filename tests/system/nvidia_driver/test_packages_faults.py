"""What goes wrong around the driver's packages: each is named, and the host is as it was."""

from __future__ import annotations

import pytest

from standins.repository import Repository
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND, THIRD = "535.161.08", "535.183.01", "535.216.03"
R535 = {"gpunode_stack": "r535"}
SOURCE = "/etc/apt/sources.list.d/gpunode-nvidia.sources"
LOCK_S = 60


@pytest.fixture(scope="module")
def host(lab):
    with driver_runs.packaged(lab, NODE) as made:
        yield made


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        said = {**R535, **variables}
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **said)

    return run


def state(host):
    """Return what there is of a driver, of whom it runs with, and of dpkg's work."""
    # The word tells; its status is another one for each.
    units = host.says("systemctl is-enabled nvidia-persistenced 2>/dev/null || true")
    found = (host.versions(), host.modules(), units, host.says("dpkg --audit"))
    return {*host.traces(), *map(str, found)}


def refused(host, done, before, *words):
    assert done.status != 0, done.messages()
    for word in words:
        assert word in done.messages(), done.messages()
    assert state(host) ^ before == set()


def is_whole(host, version):
    assert {host.versions()[name] for name in ("libcuda1", "nvidia-smi")} == {f"{version}-1"}
    assert set(host.modules().values()) == {version}
    assert host.says("dpkg --audit") == ""


def test_a_mirror_that_is_dead_is_named(converge, host):
    host.publish([])
    before = state(host)
    done = converge(nvidia_driver_repository_url="file:///srv/nowhere")
    refused(host, done, before, "/srv/nowhere", "nvidia_driver_repository_url")


def test_a_mirror_that_another_key_signed_is_not_taken(converge, host):
    other = Repository(host.tree / "srv" / "other")
    other.publish("bookworm", "debian", [f"{FIRST}-1"])
    before = state(host)
    done = converge(nvidia_driver_repository_url="file:///srv/other/srv/repository")
    other.close()
    refused(host, done, before, "is not signed", "/srv/other/srv/repository")


def test_a_mirror_with_the_key_that_the_hosts_own_sources_have_brings_the_driver(converge, host):
    host.publish([f"{FIRST}-1"])
    host.says("rm -rf /srv/mirror; cp -a /srv/repository /srv/mirror")
    host.publish([])
    mirror = {"nvidia_driver_repository_url": "file:///srv/mirror"}
    done = converge(**mirror)
    assert done.status == 0, done.messages()
    is_whole(host, FIRST)
    assert "URIs: file:///srv/mirror" in host.says(f"cat {SOURCE}")
    again = converge(**mirror)
    assert (again.status, again.changed[NODE]) == (0, 0), again.messages()


def test_the_distributions_own_archive_takes_the_mirrors_place(converge, host):
    host.publish([f"{FIRST}-1"])
    done = converge(gpunode_driver_repository="debian")
    assert done.status == 0, done.messages()
    is_whole(host, FIRST)
    host.says(f"test ! -e {SOURCE}")


def test_a_lock_that_another_one_holds_is_waited_for(converge, host):
    host.publish([f"{SECOND}-1"])
    host.says("apt-get -q -y purge nvidia-smi")
    host.says(driver_runs.hold_lock(LOCK_S))
    done = converge()
    assert done.status == 0, done.messages()
    # It came after the other one had ended.
    assert host.says("find /usr/lib/nvidia/current/nvidia-smi -cnewer /run/released")
    is_whole(host, SECOND)


def test_open_modules_take_the_place_of_proprietary_ones_and_go_again(converge, host):
    for kind, license_, package, other in (
        ("open", "Dual MIT/GPL", "nvidia-open-kernel-dkms", "nvidia-kernel-dkms"),
        ("proprietary", "NVIDIA", "nvidia-kernel-dkms", "nvidia-open-kernel-dkms"),
    ):
        said = {"gpunode_driver_modules": kind}
        predicted = converge("--check", **said)
        done = converge(**said)
        assert done.status == 0, done.messages()
        assert predicted.changes(NODE) == done.changes(NODE)
        assert f"in place of {other}" in " ".join(done.changes(NODE))
        is_whole(host, SECOND)
        assert package in host.versions()
        assert other not in host.versions()
        paths = "/lib/modules/*/updates/dkms/nvidia*.ko*"
        assert host.says(f"modinfo -F license {paths}") == license_
        assert len(host.says("dkms status").splitlines()) == 1
        again = converge(**said)
        assert (again.status, again.changed[NODE]) == (0, 0), again.messages()


def test_modules_of_the_other_kind_that_fail_halfway_give_way_to_those_before(converge, host):
    before = state(host)
    host.publish([f"{SECOND}-1"], faults={"nvidia-open-kernel-dkms": "broken-postinst"})
    done = converge(gpunode_driver_modules="open")
    refused(host, done, before, "it does not work", f"Driver {SECOND} is back")


def test_a_dpkg_that_was_killed_is_brought_to_its_end(converge, host):
    host.publish([f"{SECOND}-1"], faults={"nvidia-smi": "interrupted"})
    # It is killed, which the next line looks for.
    host.says("touch /run/interrupt; apt-get -q -y install --reinstall nvidia-smi || true")
    assert "nvidia-smi" in host.says("dpkg --audit")
    done = converge()
    assert done.status == 0, done.messages()
    is_whole(host, SECOND)


def test_a_dpkg_that_is_killed_at_our_work_leaves_the_driver_before(converge, host):
    host.says("apt-get -q -y purge nvidia-smi")
    before = state(host)
    host.publish([f"{THIRD}-1"], faults={"nvidia-smi": "interrupted"})
    host.says("touch /run/interrupt")
    done = converge()
    refused(host, done, before, f"Driver {SECOND} is back")
    again = converge()
    assert again.status == 0, again.messages()
    is_whole(host, THIRD)


def test_a_removal_that_others_would_go_with_is_refused_by_their_names(converge, host):
    host.add_package_of_others("libcuda1")
    before = state(host)
    gone = {"nvidia_driver_state": "absent"}
    refused(host, converge(**gone), before, "remove what others may need: render-farm")
    assert host.kept()
    host.says("dpkg --purge render-farm")
    done = converge(**gone)
    assert done.status == 0, done.messages()
    assert host.modules() == {}
