"""Runs that are cut, killed, interrupted or doubled while they bring a driver by a .run."""

from __future__ import annotations

import os
import signal

import pytest

from lab import kernel
from system import cut_runs
from system.nvidia_driver import driver_image

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND = "535.161.08", "535.183.01"
WORK = "/var/cache/gpunode/nvidia_driver"
KEPT = "/var/lib/gpunode/nvidia_driver"
# How far a run has come, in the order of the run.
PLACES = {
    "sent": f"test -s {WORK}/*.run",
    "unpacking": f"test -d {WORK}/*.part",
    "unpacked": f"test -e {WORK}/*/.manifest",
    "aside": f"test -d {KEPT}/aside/*",
    "sources": "test -d /usr/src/nvidia-VERSION",
    "building": "test -d /var/lib/dkms/nvidia/VERSION/build",
    "one kernel built": "ls -d /var/lib/dkms/nvidia/VERSION/*/*/module",
    "all kernels built": "test $(ls -d /var/lib/dkms/nvidia/VERSION/*/*/module | wc -l) = 2",
    "one kernel exchanged": "ls -l /var/lib/dkms/nvidia | grep '> VERSION/'",
    "installer": f"test -e {KEPT}/at-work",
    "libraries before gone": "! test -e /var/lib/nvidia/log",
    "libraries there": "test -e /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.VERSION",
    "installed": f"test -e /usr/bin/nvidia-uninstall -a ! -e {KEPT}/at-work -a ! -e OTHER",
    "kept": f"sed -n 3p {KEPT}/kept.json | grep VERSION",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return {version: driver_image.file(folder, version) for version in (FIRST, SECOND)}


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    """A node with two kernels."""
    with kernel.on_fresh(lab, NODE):
        image = driver_image.Image(lab, NODE, tmp_path_factory.mktemp("log") / "ssh")
        image.add_kernel("6.1.0-99-cloud-amd64")
        yield image


@pytest.fixture(scope="module")
def undisturbed(node, files):
    """{version: what the node is like with it}, after the other one."""
    found = {}
    for version in (FIRST, SECOND, FIRST):
        node.converged(gpunode_driver_file=files[version])
        found[version] = node.fingerprint()
    return found


def killed(node, file, version, place, way):
    """Run site.yml, and end it when it has come to a place."""
    reached = PLACES[place].replace("VERSION", version).replace("OTHER", library(before(version)))
    cut_runs.killed(node, reached, way, *node.arguments(gpunode_driver_file=file))


def before(version):
    return SECOND if version == FIRST else FIRST


def library(version):
    return f"/usr/lib/x86_64-linux-gnu/libcuda.so.{version}"


def upcoming(node):
    """Return the version that the node has not, as far as its libraries tell."""
    return before(node.libraries()[0])


@pytest.mark.parametrize(
    ("way", "place"),
    [
        *(("host", place) for place in PLACES),
        ("module", "building"),
        ("module", "installer"),
        ("controller", "building"),
        ("controller", "installer"),
    ],
)
def test_a_run_that_is_cut_off_is_brought_to_its_end_by_the_next_one(
    node, files, undisturbed, way, place
):
    version = upcoming(node)
    killed(node, files[version], version, place, way)
    planned = node.converge("--check", gpunode_driver_file=files[version])
    assert planned.status == 0, planned.messages()
    changes = node.converged(gpunode_driver_file=files[version])
    if way == "host":
        # What still ran has come to its end meanwhile, else.
        assert planned.changes(NODE) == changes
    assert set(node.fingerprint()) ^ set(undisturbed[version]) == set()
    assert node.says("ls --ignore=code /var/cache/gpunode") == ""
    assert node.rests(gpunode_driver_file=files[version])


def test_two_runs_at_once_take_turns(node, files, undisturbed):
    version = upcoming(node)
    runs = [
        cut_runs.begun(*node.arguments(gpunode_driver_file=files[version])) for _number in range(2)
    ]
    told = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(told)
    assert set(node.fingerprint()) ^ set(undisturbed[version]) == set()


def test_a_run_that_is_interrupted_ends_at_once_and_the_next_one_goes_on(node, files, undisturbed):
    version = upcoming(node)
    run = cut_runs.begun(*node.arguments(gpunode_driver_file=files[version]))
    node.says("until test -d /var/lib/dkms/nvidia/*/build; do sleep 0.05; done")
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode != 0
    node.converged(gpunode_driver_file=files[version])
    assert set(node.fingerprint()) ^ set(undisturbed[version]) == set()
    assert node.rests(gpunode_driver_file=files[version])
