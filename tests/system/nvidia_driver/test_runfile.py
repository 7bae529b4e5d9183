"""The driver by a .run on a node that is an image for hosts with GPUs: kernels on disk alone."""

from __future__ import annotations

import pytest

from lab import kernel
from system import cut_runs
from system.nvidia_driver import driver_image

pytestmark = [pytest.mark.lab, pytest.mark.executes("driver_file", "debian12")]

NODE = "node1"
FIRST, SECOND = "535.161.08", "535.183.01"
LATER = "6.1.0-99-cloud-amd64"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{version: what gpunode_driver_file is to say} of .run files on the controller."""
    folder = tmp_path_factory.mktemp("files")
    found = {version: driver_image.file(folder, version) for version in (FIRST, SECOND)}
    found["grid"] = driver_image.file(folder, SECOND, flavour="grid")
    (folder / "broken").mkdir()
    broken = driver_image.file(folder / "broken", SECOND, faults=["does-not-compile"])
    return {**found, "broken": broken}


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with kernel.on_fresh(lab, NODE):
        yield driver_image.Image(lab, NODE, tmp_path_factory.mktemp("log") / "ssh")


@pytest.fixture(scope="module")
def bare(node):
    """What the node is like before it ever had a driver."""
    return node.fingerprint()


@pytest.fixture(scope="module")
def release(node):
    return node.says("ls /lib/modules | head -n 1")


def kernels(node):
    """Return the releases of the kernels that there are."""
    return node.says("ls /lib/modules").split()


def test_a_fresh_host_has_the_driver_for_its_kernel(node, bare, files, release):
    predicted = node.converge("--check", gpunode_driver_file=files[FIRST])
    assert predicted.status == 0, predicted.messages()
    assert node.fingerprint() == bare
    changes = node.converged(gpunode_driver_file=files[FIRST])
    assert predicted.changes(NODE) == changes
    assert (node.module(release), node.libraries()) == (FIRST, [FIRST])
    assert node.rests(gpunode_driver_file=files[FIRST])


def test_a_module_that_is_gone_is_reported_and_built_again(node, files, release):
    before = node.fingerprint()
    node.says(f"rm /lib/modules/{release}/updates/dkms/nvidia.ko*")
    planned = node.converge("--check", gpunode_driver_file=files[FIRST])
    assert "has no nvidia module" in planned.messages()
    assert planned.changes(NODE) == node.converged(gpunode_driver_file=files[FIRST])
    assert set(node.fingerprint()) ^ set(before) == set()
    assert node.rests(gpunode_driver_file=files[FIRST])


def test_modules_that_do_not_build_leave_the_driver_that_is_there(node, files, release):
    said = node.refused(gpunode_driver_file=files["broken"])
    assert f"build the modules of nvidia {SECOND} for kernel {release}" in said
    assert node.rests(gpunode_driver_file=files[FIRST])


@pytest.mark.slow
def test_a_kernel_that_comes_later_is_named_and_built_for_alone(node, files, release):
    node.add_kernel(LATER)
    planned = node.converge("--check", gpunode_driver_file=files[FIRST])
    assert f"kernel {LATER} has no nvidia module" in planned.messages()
    before = node.says(f"stat -c %y /lib/modules/{release}/updates/dkms/nvidia.ko")
    changes = node.converged(gpunode_driver_file=files[FIRST])
    assert planned.changes(NODE) == changes
    assert f"install the modules of {FIRST} for kernel {LATER}" in changes
    assert not [says for says in changes if release in says]
    assert node.module(LATER) == FIRST
    assert node.says(f"stat -c %y /lib/modules/{release}/updates/dkms/nvidia.ko") == before
    assert node.says("ls --ignore=code /var/cache/gpunode") == ""


def test_an_upgrade_leaves_nothing_of_the_driver_before_but_its_file(node, files):
    changes = node.converged(gpunode_driver_file=files[SECOND])
    assert f"replace NVIDIA driver {FIRST} by {SECOND} from its .run file" in changes
    assert {node.module(kernel) for kernel in kernels(node)} == {SECOND}
    left = [line for line in node.fingerprint() if FIRST in line]
    assert [line.split()[0] for line in left] == [
        f"/var/lib/gpunode/nvidia_driver/{FIRST}-tesla.run"
    ]
    assert node.rests(gpunode_driver_file=files[SECOND])


@pytest.mark.slow
def test_the_kind_of_modules_is_changed_and_changed_back(node, files, release):
    def converged(kind):
        node.converged(gpunode_driver_file=files[SECOND], gpunode_driver_modules=kind)
        return node.says(f"modinfo -F license /lib/modules/{release}/updates/dkms/nvidia.ko")

    before = node.fingerprint()
    assert converged("open") == "Dual MIT/GPL"
    assert node.rests(gpunode_driver_file=files[SECOND], gpunode_driver_modules="open")
    assert converged("proprietary") == "NVIDIA"
    assert [line for line in node.fingerprint() if "/nvidia_driver.json" not in line] == [
        line for line in before if "/nvidia_driver.json" not in line
    ]


@pytest.mark.slow
def test_the_other_flavour_of_the_same_version_takes_its_place(node, files):
    has_daemon = "test -e /usr/bin/nvidia-gridd"
    grid = {"gpunode_driver_file": files["grid"], "gpunode_driver_flavour": "grid"}
    changes = node.converged(**grid)
    assert node.tried(has_daemon).returncode == 0, changes
    assert node.rests(**grid)
    node.converged(gpunode_driver_file=files[SECOND])
    assert node.tried(has_daemon).returncode != 0
    assert node.libraries() == [SECOND]


@pytest.mark.slow
def test_an_older_version_is_gone_back_to(node, files, release):
    node.converged(gpunode_driver_file=files[FIRST])
    assert {node.module(kernel) for kernel in (release, LATER)} == {FIRST}
    assert node.libraries() == [FIRST]
    assert node.rests(gpunode_driver_file=files[FIRST])


def test_a_run_that_is_killed_while_it_builds_is_brought_to_its_end_by_the_next_one(node, files):
    (there,) = node.libraries()
    version = SECOND if there == FIRST else FIRST
    building = f"test -d /var/lib/dkms/nvidia/{version}/build"
    cut_runs.killed(node, building, "host", *node.arguments(gpunode_driver_file=files[version]))
    node.converged(gpunode_driver_file=files[version])
    assert node.libraries() == [version]
    assert {node.module(kernel) for kernel in kernels(node)} == {version}
    assert node.rests(gpunode_driver_file=files[version])


def test_without_the_driver_the_host_is_as_it_was(node, bare):
    node.says(f"rm -rf /lib/modules/{LATER} /usr/src/linux-headers-{LATER}")
    changes = node.converged(nvidia_driver_state="absent")
    assert changes
    changed = {line.split()[0] for line in set(bare) ^ set(node.fingerprint())}
    # Its key is the host's own, and the receipt says that there is none.
    assert changed - {
        "/var/cache/gpunode",
        "/var/lib/dkms",
        "/var/lib/dkms/mok.key",
        "/var/lib/dkms/mok.pub",
    } == {"/var/lib/gpunode", "/var/lib/gpunode/nvidia_driver.json"}
    assert node.rests(nvidia_driver_state="absent")
