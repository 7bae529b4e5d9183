"""The stand-in of DOCA-OFED comes onto a node by its apt, and goes as the vendor says."""

from __future__ import annotations

import pytest

from lab import kernel, shell, textfile
from standins import doca, mlnx_ofed
from standins.repository import FLAT, Repository

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
OLDER, VERSION = "3.1.0", "3.2.1"
SOURCE = "/etc/apt/sources.list.d/doca.sources"
APT = "DEBIAN_FRONTEND=noninteractive apt-get -y"
REMOVED = "doca|flexio|dpa-gdbserver|dpa-stats|dpa-resource-mgmt|dpaeumgmt"


class Host(shell.Shell):
    def __init__(self, lab, release):
        super().__init__(lab, NODE)
        self.root = lab.tree(NODE)
        self.release = release


@pytest.fixture(scope="module")
def host(lab):
    with kernel.on_fresh(lab, NODE, "libibverbs1", "lsof") as release:
        yield Host(lab, release)


@pytest.fixture(scope="module")
def archive(host):
    made = Repository(host.root, path="/srv/doca")
    textfile.put(textfile.inside(host.root, SOURCE), made.source(FLAT))
    yield made
    made.close()


def removes(host):
    names = f"dpkg --list | grep -E '{REMOVED}' | awk '{{print $2}}'"
    host.says(f"for f in $({names}); do {APT} remove --purge $f; done")
    host.says("/usr/sbin/ofed_uninstall.sh --force")


def test_a_module_that_does_not_compile_leaves_a_package_half_configured(host, archive):
    doca.publish(archive, OLDER, faults=["broken-module"])
    done = host.tried(f"apt-get update && {APT} install doca-ofed")
    assert done.returncode == 100, done.stdout
    assert "iF" in host.says("dpkg -l mlnx-ofed-kernel-dkms")


def test_a_newer_one_repairs_that_and_is_removed_in_the_vendor_s_order(host, archive):
    doca.publish(archive, VERSION)
    host.says(f"apt-get update && {APT} install doca-ofed")
    assert host.says("ofed_info -s") == "OFED-internal-25.10-1.7.1:"
    assert host.says("dpkg-query -W -f '${Version}' libibverbs1") == "2510.0.11-1"
    assert "updates/dkms" in host.says(f"modinfo -k {host.release} -F filename mlx5_core")
    assert not (host.root / f"{mlnx_ofed.STATE}/firmware".lstrip("/")).exists()
    host.says(f"{APT} install mlnx-fw-updater")
    assert host.says(f"cat {mlnx_ofed.STATE}/firmware") == "updated"
    removes(host)
    assert host.tried("dpkg-query -W 'mlnx*' 'doca*' | grep -v '\t$'").stdout.strip() == ""


def test_doca_host_brings_its_own_archive(host, archive):
    textfile.inside(host.root, SOURCE).unlink()
    file = doca.host(textfile.inside(host.root, "/srv/x").parent, "4.0.0")
    host.says(f"dpkg -i /srv/{file.name} && apt-get update && {APT} install doca-ofed")
    assert host.tried("which ofed_info").returncode == 1
    assert host.says("dpkg-query -W -f '${Version}' doca-ofed") == "4.0.0-010000"
