"""NVIDIA's own modules, as Debian has them, for a real kernel: built whole by a real DKMS.

With them peer memory, on an RDMA stack that is a stand-in: nv_peer_mem with the one driver, and
with the other nvidia_peermem, which comes with it.
"""

from __future__ import annotations

import pytest

from lab import kernel, textfile
from standins import mlnx_ofed, peer_sources
from system import playbooks
from system.mlnx_ofed import rdma_image
from system.nvidia_driver import driver_image, driver_runs
from system.peer_memory import peer_image

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
# The whole tree takes minutes, and the package's own script builds it once more.
PATIENCE_S = 2400
MODULES = {"nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm"}
OF_RDMA = {name for names in mlnx_ofed.MODULES.values() for name in names}
CLIENT = "ib_register_peer_memory_client"
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
    yield driver_runs.Node(lab, NODE, kernel.fresh(lab, NODE))
    lab.fresh(NODE)


def modules(host):
    """Return ({module: the kernel it was built for} of what DKMS installed, the driver's version).

    Those of the RDMA stack are left out.

    The others tell their version in some branches and not in others.
    """
    fields = ("name", "vermagic", "version")
    told = host.says(
        f"for path in /lib/modules/{host.release}/updates/dkms/*.ko; do echo "
        + " ".join(f"$(modinfo -F {field} $path | cut -d ' ' -f 1)" for field in fields)
        + "; done"
    )
    rows = {name: rest for name, *rest in map(str.split, told.splitlines())}
    found = {name: rest[0] for name, rest in rows.items() if name not in OF_RDMA}
    return found, rows["nvidia"][1]


def demanded(host, module):
    """Return what a module demands; its file is called by another name in Debian's driver."""
    path = host.says(
        f"for path in /lib/modules/{host.release}/updates/dkms/*.ko; do "
        f"test $(modinfo -F name $path) != {module} || echo $path; done"
    )
    return peer_image.demanded(host.says, path)


def symvers(host):
    """Return {symbol: version} of the RDMA stack."""
    return peer_image.symvers(host.says(f"cat {rdma_image.SYMBOLS}"))


def ofed(folder, version=rdma_image.FIRST, faults=()):
    """Make a bundle; return the variables of a host that is to have it."""
    return rdma_image.said(version, rdma_image.file(folder, version, faults))


def test_the_sources_of_nvidia_in_a_file_are_built_whole_for_the_kernel(host, tmp_path):
    host.says(VENDOR_TREE, timeout_s=300)
    tree = textfile.inside(host.tree, "/root/vendor/kernel")
    file = driver_image.file(tmp_path, VENDOR, kernel_tree=tree)
    limits = {"log": tmp_path / "ssh", "timeout_s": PATIENCE_S}
    archive = peer_sources.archive(tmp_path / "nv_peer_memory-1.3-0.tar.gz", "1.3-0")
    peers = {
        "gpunode_peer_memory_route": "nv_peer_mem",
        "peer_memory_archives": {"1.3-0": archive},
    }
    said = ("--limit", NODE, *driver_runs.said(file, **ofed(tmp_path), **peers))
    done = playbooks.run("site.yml", *said, **limits)
    assert done.status == 0, done.messages()
    built = dict.fromkeys(MODULES | {"nv_peer_mem"}, host.release)
    assert modules(host) == (built, VENDOR)
    wanted = demanded(host, "nv_peer_mem")
    exported = peer_image.exported(host.says, "/root/vendor/kernel", host.release)
    assert {"nvidia_p2p_get_pages", CLIENT} <= wanted.keys()
    assert {symbol: exported[symbol] for symbol in wanted} == wanted
    again = playbooks.run("site.yml", *said, **limits)
    assert driver_runs.is_settled(again, NODE), again.messages()


def test_the_driver_of_debian_is_built_whole_for_the_kernel_and_held(host, tmp_path):
    limits = {"log": tmp_path / "ssh", "timeout_s": PATIENCE_S}
    peers = {"gpunode_stack": "r470", "gpunode_peer_memory_route": "nvidia_peermem"}
    said = ("--limit", NODE, *driver_runs.said(**peers, **ofed(tmp_path)))
    done = playbooks.run("site.yml", *said, **limits)
    assert done.status == 0, done.messages()
    version = host.versions()["nvidia-tesla-470-kernel-dkms"].partition("-")[0]
    built = dict.fromkeys(MODULES | {"nvidia_peermem"}, host.release)
    assert modules(host) == (built, version)
    assert host.kept() == {version: {"700", "600"}}
    again = playbooks.run("site.yml", *said, **limits)
    assert driver_runs.is_settled(again, NODE), again.messages()
    first = demanded(host, "nvidia_peermem")[CLIENT]
    assert first == symvers(host)[CLIENT]
    # With another RDMA stack under it the driver is built once more, or its module would not load.
    other = ofed(tmp_path, rdma_image.SECOND, ["other-symbols"])
    said = ("--limit", NODE, *driver_runs.said(**peers, **other))
    done = playbooks.run("site.yml", *said, **limits)
    assert done.status == 0, done.messages()
    assert modules(host) == (built, version)
    assert demanded(host, "nvidia_peermem")[CLIENT] == symvers(host)[CLIENT] != first
    again = playbooks.run("site.yml", *said, **limits)
    assert driver_runs.is_settled(again, NODE), again.messages()
