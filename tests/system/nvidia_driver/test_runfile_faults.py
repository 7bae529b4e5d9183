"""What can be wrong with a .run, or go wrong with it: the driver that was there is there."""

from __future__ import annotations

import pytest

from lab import kernel
from system.nvidia_driver import driver_image

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND = "535.161.08", "535.183.01"
OTHER = "6.1.0-99-cloud-amd64"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{what is wrong: what gpunode_driver_file is to say}, and the good ones by their version."""

    def file(name, version, says=None, **settings):
        folder = tmp_path_factory.mktemp(name)
        return driver_image.file(folder, version, says, **settings)

    found = {
        FIRST: file("first", FIRST),
        SECOND: file("second", SECOND),
        "truncated": file("truncated", SECOND, faults=["truncated"]),
        "other-architecture": file("other-architecture", SECOND, faults=["other-architecture"]),
        "other-version": file("other-version", "535.154.05", says=SECOND),
        "other-flavour": file("other-flavour", SECOND, flavour="grid"),
        "broken": file("broken", SECOND, faults=[f"does-not-compile:{OTHER}"]),
        "disk-full": file("disk-full", SECOND, faults=["disk-full"]),
        "killed": file("killed", SECOND, faults=["killed"]),
        "first-killed": file("first-killed", FIRST, faults=["killed"]),
    }
    path, digest = found[SECOND].split("#sha256=")
    found["other-digest"] = f"{path}#sha256={digest[::-1]}"
    found["gone"] = f"/nowhere{path}#sha256={digest}"
    return found


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    """A node with two kernels and no driver."""
    with kernel.on_fresh(lab, NODE):
        image = driver_image.Image(lab, NODE, tmp_path_factory.mktemp("log") / "ssh")
        image.add_kernel(OTHER)
        yield image


@pytest.fixture(scope="module")
def release(node):
    return node.says("ls /lib/modules | head -n 1")


FILES = [
    ("truncated", "it is damaged"),
    ("other-digest", f"-{SECOND}.run: its sha256 is "),
    ("other-architecture", "it is for aarch64, the host is x86_64"),
    ("other-version", f"its version is 535.154.05, wanted is {SECOND}"),
    ("other-flavour", "its flavour is grid, wanted is tesla"),
    ("gone", "there is no such file on the controller"),
]


@pytest.mark.parametrize(("fault", "says"), FILES)
def test_a_file_that_will_not_do_is_named_and_nothing_is_changed(node, files, fault, says):
    assert says in node.refused(gpunode_driver_file=files[fault])


def test_an_address_with_another_digest_is_named_and_nothing_is_changed(node, files, lab):
    digest = files[SECOND].partition("#sha256=")[2]
    name = f"NVIDIA-Linux-x86_64-{SECOND}.run"
    (lab.tree(NODE) / "srv" / name).write_bytes(b"another one")
    said = node.refused(gpunode_driver_file=f"file:///srv/{name}#sha256={digest}")
    assert f"file:///srv/{name}: its sha256 is " in said
    assert node.says("ls /var/cache/gpunode/nvidia_driver") == ""


def test_an_installer_that_is_killed_on_a_fresh_host_is_named_and_the_next_run_repairs(node, files):
    done = node.converge(gpunode_driver_file=files["first-killed"])
    assert done.status != 0
    assert "There was no other driver before" in done.messages()
    node.converged(gpunode_driver_file=files[FIRST])
    assert node.libraries() == [FIRST]
    assert node.rests(gpunode_driver_file=files[FIRST])


def test_modules_that_do_not_build_for_one_kernel_leave_every_kernel_its_own(node, files, release):
    said = node.refused(gpunode_driver_file=files["broken"])
    assert f"build the modules of nvidia {SECOND} for kernel {OTHER}" in said
    assert "fatal error: stdarg.h: No such file or directory" in said
    assert {node.module(name) for name in (release, OTHER)} == {FIRST}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("disk-full", "the file system of /usr is full"),
        ("killed", f"install NVIDIA driver {SECOND}"),
    ],
)
def test_after_an_installer_that_fails_the_driver_before_is_back(node, files, release, fault, says):
    said = node.refused(gpunode_driver_file=files[fault])
    assert says in said
    assert f"Driver {FIRST} is back" in said
    assert {node.module(name) for name in (release, OTHER)} == {FIRST}
    assert node.rests(gpunode_driver_file=files[FIRST])


@pytest.mark.parametrize("folder", ["/var/lib/dkms/nvidia", "/usr/src", "/var/cache/gpunode"])
def test_a_full_disk_is_named_and_changes_nothing(node, files, folder):
    node.says("rm -rf /var/cache/gpunode/nvidia_driver")
    with node.full(folder):
        said = node.refused(gpunode_driver_file=files[SECOND])
        assert "is full" in said
    assert node.rests(gpunode_driver_file=files[FIRST])


def test_the_right_file_is_taken_after_all_that(node, files, release):
    node.converged(gpunode_driver_file=files[SECOND])
    assert {node.module(name) for name in (release, OTHER)} == {SECOND}
    assert node.libraries() == [SECOND]
    assert node.rests(gpunode_driver_file=files[SECOND])
