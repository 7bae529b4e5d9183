"""The stand-in of MLNX_OFED does on a node what its tables say."""

from __future__ import annotations

import json

import pytest

from lab import kernel, shell, textfile
from standins import mlnx_ofed

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
VERSION = "24.10-2.1.8.0"
NAME = f"MLNX_OFED_LINUX-{VERSION}"
QUIET = ("--force", "--skip-distro-check", "--without-fw-update")
HEADERS = "/usr/src/ofa_kernel/default"


class Host(shell.Shell):
    """A node, bundles on it, and what their programs left there."""

    def __init__(self, lab, release):
        super().__init__(lab, NODE)
        self.release = release

    def put(self, name, **how):
        place = f"/srv/{name}"
        root = self._lab.tree(NODE)
        mlnx_ofed.make(None, VERSION, requires=False, into=textfile.inside(root, place), **how)
        return place

    def installs(self, bundle, *arguments):
        words = " ".join((*arguments, "--kernel", self.release))
        return self.tried(f"{bundle}/mlnxofedinstall {words} </dev/null")

    def noted(self, name):
        told = self.tried(f"cat {mlnx_ofed.STATE}/{name} 2>/dev/null").stdout
        return told.splitlines()

    def status(self, package):
        told = self.tried(f"dpkg-query -W -f '${{db:Status-Abbrev}}' {package} 2>/dev/null")
        return told.stdout.strip()


@pytest.fixture(scope="module")
def host(lab):
    # A library of the distribution that the vendor's takes the place of.
    with kernel.on_fresh(lab, NODE, "libibverbs1", "pciutils", "procps", "lsof", "kmod") as release:
        yield Host(lab, release)


def test_a_bundle_for_another_release_is_refused_and_changes_nothing(host):
    before = host.says("dpkg-query -W")
    done = host.installs(host.put("plain"), "--force")
    assert done.returncode == 172
    assert "is intended for debian12.5" in done.stdout
    assert host.says("dpkg-query -W") == before


def test_it_is_killed_half_way(host):
    done = host.installs(host.put("dies", faults=["dies-half-way"]), *QUIET)
    assert done.returncode in (-9, 137), done.stdout
    assert host.says("ofed_info -s").startswith("OFED-internal-24.10-2.1.8:")
    assert "iU" in host.says("dpkg -l | grep mlnx")


def test_it_installs_over_that_and_leaves_modules_and_headers(host):
    done = host.installs("/srv/plain", *QUIET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Uninstalling the previous version" in done.stdout
    assert "\x1b[32mInstallation passed successfully" in done.stdout
    assert "General log file: /tmp/MLNX_OFED_LINUX." in done.stderr
    assert host.says("ofed_info -s") == f"{NAME}:"
    assert host.says("dpkg-query -W -f '${Version}' libibverbs1") == "2410mlnx54-1.2410068"
    assert host.says(f"readlink -f {HEADERS}") == f"/usr/src/ofa_kernel/x86_64/{host.release}"
    symbols = host.says(f"cat {HEADERS}/Module.symvers")
    assert "ib_register_peer_memory_client" in symbols
    assert "mlx_compat" in host.says(f"modinfo -k {host.release} -F depends mlx5_core")
    assert host.noted("firmware") == []
    assert json.loads(host.noted("installer")[-1]) == {"exit": 0}


def test_openibd_loads_nothing_where_the_kernel_that_runs_has_no_modules_of_ofed(host):
    for verb in ("restart", "force-start"):
        done = host.tried(f"/etc/init.d/openibd {verb}")
        assert done.returncode == 1
        assert "No HCA kernel modules loaded: [FAILED]" in done.stdout
    done = host.tried("/etc/init.d/openibd status")
    assert (done.returncode, "HCA driver is not loaded" in done.stdout) == (1, True)
    assert host.tried("/etc/init.d/openibd stop").returncode == 0
    assert host.noted("openibd")[-4:] == ["restart 1", "force-start 1", "status 1", "stop 0"]


def test_it_is_removed_but_for_its_headers(host):
    done = host.tried("/usr/sbin/ofed_uninstall.sh --force")
    assert done.returncode == 0, done.stdout
    assert host.status("mlnx-ofed-kernel-dkms") == ""
    assert host.tried(f"test -e {HEADERS}/Module.symvers").returncode == 0
    assert host.tried("test -e /usr/bin/ofed_info").returncode == 1


def test_modules_for_one_kernel_are_added(host):
    arguments = ("--add-kernel-support", "--skip-repo", "--force", "--skip-distro-check")
    done = host.installs("/srv/plain", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.status("mlnx-ofed-kernel-modules") == "ii"
    where = host.says(f"modinfo -k {host.release} -F filename mlx5_core")
    assert f"/lib/modules/{host.release}/updates/" in where
    assert host.noted("firmware") == ["updated"]


def test_a_package_that_fails_is_left_half_configured(host):
    done = host.installs(host.put("fails", faults=["package-fails"]), *QUIET)
    assert done.returncode == 1
    assert "Failed to install mlnx-ofed-kernel-dkms DEB" in done.stdout
    assert host.status("mlnx-ofed-kernel-dkms") == "iF"
