"""A node that is an image for hosts with RDMA devices, and its MLNX_OFED."""

from __future__ import annotations

import contextlib
import hashlib
import json

from standins import mlnx_ofed
from system.nvidia_driver import driver_image, ubuntu_host

#: Versions whose modules export the same symbols.
FIRST, SECOND = "24.10-1.1.4.0", "24.10-2.1.8.0"
KEPT = "/var/lib/gpunode/mlnx_ofed"
PINS = "/etc/apt/preferences.d/gpunode-rdma"
#: What a test calls a further kernel.
NEXT_KERNEL = "6.1.0-99-cloud-amd64"
SYMBOLS = "/usr/src/ofa_kernel/default/Module.symvers"
# Receipts tell what was; DKMS's key is the host's own, and depmod's lists follow from the modules.
_FINGERPRINT = r"""
dpkg-query -W -f '${db:Status-Abbrev}${Package}=${Version}\n' | sort
find /etc /usr/src /var/lib/dkms /var/lib/gpunode /var/tmp /lib/modules/ /usr/bin /usr/sbin \
    -xdev \
    -not -path '/usr/src/linux-*' -not -path '/lib/modules/*/modules.*' -not -name '*.json' \
    -not -name 'mok.*' -not -name 'MLNX_OFED_LINUX.*' -not -path '*.logs/*' \
    -not -path '/etc/apt/*' \
    -printf '%p %y %u:%g %m %l\n' | sort
find /etc/apt/preferences.d -type f -exec cat {} +
"""


def file(folder, version, faults=(), **options):
    """Make a bundle, and return what gpunode_ofed_file is to say of it.

    :param options: of mlnx_ofed.make.
    """
    path = mlnx_ofed.make(folder, version, faults=faults, requires=False, **options)
    return f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"


def said(version, bundle):
    """Return the variables of a host that is to have MLNX_OFED from a bundle."""
    return {
        "gpunode_ofed_kind": "mlnx_ofed",
        "gpunode_ofed_version": version,
        "gpunode_ofed_file": bundle,
    }


@contextlib.contextmanager
def ubuntu(lab, node, shape):
    """Let a node be shaped as Ubuntu, with its own RDMA stack, for a ``with`` block.

    Yields the ubuntu_host.UbuntuHost.
    """
    with ubuntu_host.shaped(lab, node, shape) as host:
        host.publish(families=["ubuntu-rdma"])
        host.says(
            "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends"
            " rdma-core ibverbs-providers"
        )
        yield host


class Rdma(driver_image.Image):
    """The node, and what is asked of its RDMA stack."""

    def __init__(self, lab, node, folder):
        super().__init__(lab, node, folder / "ssh")
        self.release = self.says("ls /lib/modules | head -n 1")
        self._folder = folder
        self._made = {}

    def bundle(self, version=FIRST, faults=(), **options):
        """Make a bundle and return what gpunode_ofed_file is to say of it."""
        key = json.dumps([version, faults, options])
        if key not in self._made:
            folder = self._folder / str(len(self._made))
            folder.mkdir()
            self._made[key] = file(folder, version, faults, **options)
        return self._made[key]

    def said(self, version=FIRST, faults=(), **variables):
        return {**said(version, self.bundle(version, faults)), **variables}

    def fingerprint(self):
        return self.says(_FINGERPRINT).splitlines()

    def version(self):
        """Return what ofed_info says, '' where there is none."""
        return self.tried("ofed_info -s").stdout.strip()

    def cores(self):
        """Return {kernel: version of the RDMA stack that its ib_core is from}."""
        paths = self.says("find /lib/modules/ -path '*/updates/*' -name 'ib_core.ko*'").split()
        return {path.split("/")[3]: self.says(f"modinfo -F version {path}") for path in paths}

    def packages(self):
        """Return {package: version} of what is installed of RDMA."""
        listed = self.says(r"dpkg-query -W -f '${db:Status-Abbrev}${Package}=${Version}\n'")
        rows = [line[3:].split("=", 1) for line in listed.splitlines() if line.startswith("ii ")]
        names = ("rdma", "ibverbs", "mlnx", "ofed", "mft", "perftest", "libib")
        return {name: found for name, found in rows if any(word in name for word in names)}

    def asked_of(self, program):
        """Return the rows that a program of the stand-in noted, and forget them."""
        path = f"{mlnx_ofed.STATE}/{program}"
        return self.says(f"cat {path} 2>/dev/null; rm -f {path}").splitlines()
