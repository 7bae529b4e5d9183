"""The driver by a .run on a node with its distribution's kernel and initramfs, and no headers."""

from __future__ import annotations

import pytest

from system.nvidia_driver import driver_image

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
VERSION = "535.161.08"
OTHER = "6.1.0-1-cloud-amd64"
SETTING = "/etc/modprobe.d/gpunode-nvidia.conf"
NAME = "gpunode-nvidia"
HOOK = f"/etc/initramfs-tools/hooks/{NAME}"
# The kernel has no nouveau; a module of that name in the initramfs is seen all the same. Another
# kernel, which does not boot next, has an initramfs without it.
SET_UP = f"""
set -e
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    linux-image-cloud-amd64 initramfs-tools zstd
kernel=$(ls /lib/modules)
cp $(find /lib/modules/$kernel -name dummy.ko) /lib/modules/$kernel/kernel/nouveau.ko
depmod $kernel
echo nouveau >>/etc/initramfs-tools/modules
update-initramfs -u -k $kernel
mkdir /lib/modules/{OTHER}
touch /boot/vmlinuz-{OTHER} /root/init
cd /root
echo init | cpio --quiet -o -H newc | gzip >/boot/initrd.img-{OTHER}
echo $kernel
"""
HIDE = "mkdir /root/apt && mv /etc/apt/sources.list* /var/lib/apt/lists /root/apt"
SHOW = """
mv /root/apt/sources.list* /etc/apt
rm -rf /var/lib/apt/lists
mv /root/apt/lists /var/lib/apt
"""


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    return {"gpunode_driver_file": driver_image.file(tmp_path_factory.mktemp("files"), VERSION)}


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    lab.fresh(NODE)
    image = driver_image.Image(lab, NODE, tmp_path_factory.mktemp("log") / "ssh")
    image.release = image.says(SET_UP, timeout_s=300).split()[-1]
    yield image
    lab.fresh(NODE)


def packages(node):
    return set(node.says("dpkg-query -W -f '${Package}\\n'").split())


def images(node):
    """Return {kernel: when its initramfs was made}."""
    rows = node.says("stat -c '%n %y' /boot/initrd.img-*").splitlines()
    return dict(line.removeprefix("/boot/initrd.img-").split(" ", 1) for line in rows)


def in_kernel_drivers(node):
    return node.says(f"lsinitramfs /boot/initrd.img-{node.release} | grep nouveau.ko || true")


def test_headers_that_cannot_be_had_are_named_and_nothing_is_changed(node, wanted):
    node.says(HIDE)
    said = node.refused(**wanted)
    assert f"Install linux-headers-{node.release}" in said


def test_where_a_report_is_enough_the_rest_is_done_and_no_kernel_lacks_more(node, wanted):
    lax = {**wanted, "nvidia_driver_kernels_without_headers": "report"}
    made = images(node)
    assert in_kernel_drivers(node) != ""
    changes = node.converged(**lax)
    assert node.libraries() == [VERSION]
    assert node.module(node.release) == ""
    assert in_kernel_drivers(node) == ""
    assert images(node)[OTHER] == made[OTHER]
    assert images(node)[node.release] != made[node.release]
    assert [says for says in changes if "initramfs of kernel" in says] == [
        f"take the kernel's own driver out of the initramfs of kernel {node.release}"
    ]
    assert node.rests(**lax)
    node.says(SHOW)


def test_headers_that_can_be_had_come_and_no_kernel_with_them(node, wanted):
    before = packages(node)
    planned = node.converge("--check", **wanted)
    changes = node.converged(**wanted)
    assert planned.changes(NODE) == changes
    assert node.module(node.release) == VERSION
    new = packages(node) - before
    assert f"linux-headers-{node.release}" in new
    assert {name for name in new if name.startswith("linux-image")} == set()
    assert "linux-headers-cloud-amd64" not in new


def test_an_initramfs_without_an_in_kernel_driver_is_not_made_again(node, wanted):
    made = images(node)
    node.says(f"rm {SETTING}")
    node.converged(**wanted)
    assert images(node) == made
    assert node.rests(**wanted)


def test_an_in_kernel_driver_that_comes_back_into_the_initramfs_is_reported_and_taken_out(
    node, wanted
):
    node.says(f"mv {HOOK} /root; update-initramfs -u -k {node.release}; mv /root/{NAME} {HOOK}")
    assert in_kernel_drivers(node) != ""
    planned = node.converge("--check", **wanted)
    assert f"nouveau is in the initramfs of kernel {node.release}" in planned.messages()
    node.converged(**wanted)
    assert in_kernel_drivers(node) == ""
    assert node.rests(**wanted)
