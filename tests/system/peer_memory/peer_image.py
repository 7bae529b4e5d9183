"""A node that is an image for hosts with GPUs and RDMA devices, and its nv_peer_mem."""

from __future__ import annotations

import contextlib
import shlex

from standins import peer_sources
from system.nvidia_driver import driver_image, driver_runs

FIRST, SECOND = "450.248.02", "450.236.01"
OFED = "/usr/src/ofa_kernel/default"
#: What nv_peer_mem has to use of either.
REQUIRED = {"nvidia_p2p_dma_map_pages", "ib_register_peer_memory_client"}
LOAD = "/etc/modules-load.d/gpunode-peer-memory.conf"


class Peers(driver_image.Image):
    """The node, and what is asked of its peer memory.

    :param folder: an empty one, for what is made.
    :param delivery: what is said of peer_memory_delivery.
    """

    def __init__(self, lab, node, folder, delivery="dkms"):
        super().__init__(lab, node, folder / "ssh")
        self.release = self.says("ls /lib/modules | head -n 1")
        self.module_path = self.module_of(delivery)
        self._delivery = delivery
        self.archives = {
            tag: peer_sources.archive(folder / f"nv_peer_memory-{tag}.tar.gz", tag)
            for tag in ("1.1-0", "1.3-0")
        }
        self.trees = {
            FIRST: peer_sources.driver(folder / "first", FIRST),
            # Another type in the header: the symbols have other versions.
            SECOND: peer_sources.driver(folder / "second", SECOND, changed="u64"),
        }
        self.files = {
            version: driver_image.file(folder, version, kernel_tree=tree)
            for version, tree in self.trees.items()
        }

    def module_of(self, delivery):
        """Return where nv_peer_mem lies that came so."""
        folder = {"dkms": "updates/dkms", "rpm": "extra"}[delivery]
        return f"/lib/modules/{self.release}/{folder}/nv_peer_mem.ko"

    def said(self, version=FIRST, **variables):
        said = {
            "gpunode_peer_memory_route": "nv_peer_mem",
            "peer_memory_archives": self.archives,
            "peer_memory_delivery": self._delivery,
            **variables,
        }
        return {"gpunode_driver_file": self.files[version], **said} if version else said

    def put(self, path, text):
        self.says(f"mkdir -p {path.rpartition('/')[0]}; printf %s {shlex.quote(text)} >{path}")

    @contextlib.contextmanager
    def unbuildable(self):
        """Meanwhile the module that is there does not fit any longer, and no other one compiles."""
        header = f"{OFED}/include/rdma/peer_mem.h"
        self.says(
            f"cp {OFED}/Module.symvers {header} /root; echo '#error gone' >>{header}; "
            f"sed -i s/0x95d78b19/0x12345678/ {OFED}/Module.symvers"
        )
        yield
        self.says(f"cp /root/Module.symvers {OFED}; cp /root/peer_mem.h {header}")

    def put_ofed(self, folder):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{OFED}/{path.relative_to(folder)}", path.read_text())

    def demanded(self, path=None):
        """Return what the module demands; see demanded."""
        return demanded(self.says, path or self.module_path)

    def fits(self, version=FIRST):
        """Say whether the module demands each symbol in the version that a build by hand has.

        It demands some of the driver and some of the RDMA stack; see REQUIRED.
        """
        found, there = self.demanded(), self.exported(version)
        return found.keys() >= REQUIRED and {name: there[name] for name in found} == found

    def converged_as_foretold(self, **variables):
        """Hold a run to what check mode foretold of it, and return its changes."""
        return driver_runs.as_predicted(self.converge, self.node, **variables)

    def has_it_built_again_for(self, version):
        """Hold one run to bringing another version of the driver, and the module built for it."""
        before = self.demanded()
        changes = self.converged_as_foretold(**self.said(version))
        assert f"build nv_peer_mem 1.1-0 for kernel {self.release}" in changes
        assert self.demanded() != before
        assert self.fits(version)
        assert self.rests(**self.said(version))

    def exported(self, version):
        """Return what a version of the driver exports; see exported."""
        return exported(self.says, f"/usr/src/nvidia-{version}", self.release)


def demanded(says, path):
    """Return {symbol: version} of what a module demands of driver and RDMA stack, as kmod tells it.

    :param says: what runs a command on the node, and returns what it prints.
    """
    told = says(f"modprobe --dump-modversions {path}")
    return {
        symbol: int(version, 16)
        for version, symbol in map(str.split, told.splitlines())
        if symbol.startswith(("nvidia_p2p_", "ib_"))
    }


def exported(says, sources, release):
    """Return {symbol: version} as a build of the driver by hand and the RDMA stack have them.

    :param sources: the folder of the driver's sources on the node.
    :param release: of the kernel.
    """
    build = f"make -s -j2 NV_KERNEL_MODULES=nvidia KERNEL_UNAME={release} modules"
    says(
        f"rm -rf /tmp/by-hand && cp -r {sources} /tmp/by-hand && cd /tmp/by-hand && {build}",
        timeout_s=600,
    )
    found = says(f"cd /tmp/by-hand && cat Module.symvers {OFED}/Module.symvers")
    says("rm -rf /tmp/by-hand")
    return symvers(found)


def symvers(text):
    """Return {symbol: version} of what a build wrote down."""
    rows = [line.split("\t") for line in text.splitlines()]
    return {row[1]: int(row[0], 16) for row in rows}
