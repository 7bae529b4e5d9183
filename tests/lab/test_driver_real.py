"""NVIDIA's own modules, as Debian has them, for a real kernel: built whole by a real DKMS."""

from __future__ import annotations

import pytest

from lab import driver_image, driver_runs, fleet, textfile

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
# The whole tree takes minutes, and the package's own script builds it once more.
PATIENCE_S = 2400
MODULES = {"nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm"}
# The last branch whose sources, as NVIDIA published them, build for the kernels of Debian 12.
VENDOR = "450.248.02"
# Debian keeps the sources as they were and has its patches beside them; the objects are called by
# their architecture. Nothing of the node's own apt changes.
VENDOR_TREE = f"""
set -e
mkdir -p /root/vendor/lists/partial /root/vendor/cache/archives/partial
cd /root/vendor
touch status
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror sid non-free" >sources.list
for verb in update 'download nvidia-tesla-450-kernel-dkms'; do
    apt-get -q -o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD/cache -o Dir::State::status=$PWD/status \
        -o APT::Sandbox::User=root $verb
done
dpkg -x nvidia-tesla-450-kernel-dkms_{VENDOR}-*.deb .
mv usr/src/nvidia-tesla-450-{VENDOR} kernel
rm -r kernel/patches
ln -s nv-kernel-amd64.o_binary kernel/nvidia/nv-kernel.o_binary
ln -s nv-modeset-kernel-amd64.o_binary kernel/nvidia-modeset/nv-modeset-kernel.o_binary
"""


@pytest.fixture
def host(lab):
    lab.fresh(NODE)
    yield driver_runs.Node(lab, NODE)
    lab.fresh(NODE)


def modules(host):
    """Return ({module: the kernel it was built for} of what DKMS installed, the driver's version).

    The others tell their version in some branches and not in others.
    """
    fields = ("name", "vermagic", "version")
    told = host.says(
        f"for path in /lib/modules/{host.release}/updates/dkms/*.ko; do echo "
        + " ".join(f"$(modinfo -F {field} $path | cut -d ' ' -f 1)" for field in fields)
        + "; done"
    )
    rows = {name: rest for name, *rest in map(str.split, told.splitlines())}
    return {name: rest[0] for name, rest in rows.items()}, rows["nvidia"][1]


def test_the_sources_of_nvidia_in_a_file_are_built_whole_for_the_kernel(host, tmp_path):
    host.says(VENDOR_TREE, timeout_s=300)
    tree = textfile.inside(host.tree, "/root/vendor/kernel")
    file = driver_image.file(tmp_path, VENDOR, kernel_tree=tree)
    limits = {"log": tmp_path / "ssh", "timeout_s": PATIENCE_S}
    said = ("--limit", NODE, *driver_runs.said(file))
    done = fleet.run("site.yml", *said, **limits)
    assert done.status == 0, done.messages()
    assert modules(host) == (dict.fromkeys(MODULES, host.release), VENDOR)
    again = fleet.run("site.yml", *said, **limits)
    assert driver_runs.is_settled(again, NODE), again.messages()


def test_the_driver_of_debian_is_built_whole_for_the_kernel_and_held(host, tmp_path):
    limits = {"log": tmp_path / "ssh", "timeout_s": PATIENCE_S}
    said = ("--limit", NODE, *driver_runs.said(gpunode_stack="r470"))
    done = fleet.run("site.yml", *said, **limits)
    assert done.status == 0, done.messages()
    version = host.versions()["nvidia-tesla-470-kernel-dkms"].partition("-")[0]
    built = dict.fromkeys(MODULES | {"nvidia_peermem"}, host.release)
    assert modules(host) == (built, version)
    assert host.kept() == {version: {"700", "600"}}
    again = fleet.run("site.yml", *said, **limits)
    assert driver_runs.is_settled(again, NODE), again.messages()
