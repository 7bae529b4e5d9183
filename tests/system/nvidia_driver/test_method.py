"""A driver by a .run gives way to packages and packages to a .run, with consent, never both."""

from __future__ import annotations

import functools
import hashlib

import pytest

from standins import runfile
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FILE, PACKAGES = "535.161.08", "535.183.01"
CONSENT = {"gpunode_consent": ["change_method"]}
BY_PACKAGES = {"gpunode_stack": "r535", "nvidia_driver_persistence": False}
# What either way leaves besides the driver itself.
PINS = "/etc/apt/preferences.d/gpunode-nvidia"
UNIT = "/etc/systemd/system/nvidia-persistenced.service"


@pytest.fixture(scope="module")
def host(lab):
    lab.fresh(NODE)
    made = driver_runs.Packaged(lab, NODE)
    made.publish([f"{PACKAGES}-1"])
    made.before = made.traces()
    yield made
    made.repository.close()
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Build a .run, with faults or without; return what gpunode_driver_file is to say of it."""
    folder = tmp_path_factory.mktemp("files")

    @functools.cache
    def build(*faults):
        place = folder / "-".join(faults or ("whole",))
        place.mkdir(exist_ok=True)
        path = runfile.build(place / runfile.file_name(FILE), FILE, faults=faults)
        return {
            "gpunode_driver_file": f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"
        }

    return build


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **variables)

    return run


def is_by_file(host):
    """Hold the node to having the driver of the .run and nothing of packages."""
    assert host.modules() == {host.release: FILE}
    assert host.versions().keys() <= {"nvidia-modprobe", "nvidia-kernel-common"}
    host.says(f"test -e /usr/bin/nvidia-uninstall && test ! -e {PINS} && test -e {UNIT}")
    assert PACKAGES not in host.says("dkms status; find /usr/src /usr/lib/x86_64-linux-gnu")


def is_by_packages(host):
    assert host.modules() == {host.release: PACKAGES}
    assert host.versions()["libcuda1"] == f"{PACKAGES}-1"
    host.says(f"test ! -e /usr/bin/nvidia-uninstall && test -e {PINS} && test ! -e {UNIT}")
    assert FILE not in host.says("dkms status; find /usr/src /usr/lib/x86_64-linux-gnu")


def test_a_file_gives_way_to_packages_with_consent_alone(converge, host, file):
    done = converge(**file())
    assert done.status == 0, done.messages()
    is_by_file(host)
    host.publish([f"{PACKAGES}-1"])
    waits = converge(**BY_PACKAGES)
    assert "nvidia_driver waits for gpunode_consent: [change_method]" in waits.messages()
    is_by_file(host)


def test_packages_that_fail_halfway_leave_the_driver_of_the_file(converge, host):
    host.publish([f"{PACKAGES}-1"], faults={"nvidia-smi": "broken-postinst"})
    done = converge(**BY_PACKAGES, **CONSENT)
    assert done.status != 0
    assert "it does not work" in done.messages()
    assert f"Driver {FILE} is back" in done.messages(), done.messages()
    is_by_file(host)


def test_packages_take_the_place_of_the_file_and_without_persistence_its_daemon_goes(
    converge, host
):
    host.publish([f"{PACKAGES}-1"])
    predicted = converge("--check", **BY_PACKAGES, **CONSENT)
    done = converge(**BY_PACKAGES, **CONSENT)
    assert done.status == 0, done.messages()
    assert predicted.changes(NODE) == done.changes(NODE)
    is_by_packages(host)
    assert "nvidia-persistenced" not in host.versions()
    again = converge(**BY_PACKAGES)
    assert driver_runs.is_settled(again, NODE), again.messages()
    kept = f"gpunode_driver_file: file://{driver_runs.KEPT}/{FILE}-tesla.run#sha256="
    assert kept in again.messages()


def test_a_file_that_fails_leaves_the_packages_as_they_were(converge, host, file):
    before = host.versions()
    waits = converge(**file())
    assert "nvidia_driver waits for gpunode_consent: [change_method]" in waits.messages()
    is_by_packages(host)
    host.says("rm -r /srv/repository/pool")
    done = converge(**file("disk-full"), **CONSENT)
    assert done.status != 0
    assert f"Driver {PACKAGES} is back" in done.messages(), done.messages()
    is_by_packages(host)
    assert host.versions() == before


def test_the_file_takes_the_place_of_packages_and_goes_without_a_trace(converge, host, file):
    done = converge(**file(), **CONSENT)
    assert done.status == 0, done.messages()
    is_by_file(host)
    again = converge(**file())
    assert driver_runs.is_settled(again, NODE), again.messages()
    gone = converge(nvidia_driver_state="absent")
    assert gone.status == 0, gone.messages()
    assert host.modules() == {}
    assert set(host.traces()) ^ set(host.before) == set()
