"""Live proofs of the NVIDIA driver: on disk for every kernel, loaded, and computing."""

from __future__ import annotations

import json
import shlex
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import cuda_allocation


@pytest.fixture
def driver(wanted):
    """The driver that the host is to have."""
    found = [item for item in wanted.get("nvidia_driver", []) if "version" in item]
    if not found:
        pytest.skip("no NVIDIA driver is wanted of this host")
    return found[0]


@pytest.fixture
def gpus(host):
    """The addresses of the host's NVIDIA GPUs that its own driver is to have."""
    found = host.check_output(
        "for at in /sys/bus/pci/devices/*; do case $(cat $at/vendor):$(cat $at/class) in"
        ' 0x10de:0x0300*|0x10de:0x0302*) case $(basename "$(readlink $at/driver)") in'
        " *vfio[-_]pci|pci-stub|*pciback) ;; *) basename $at;; esac;; esac; done"
    ).split()
    if not found:
        pytest.skip("this host has no NVIDIA GPU of its own")
    return found


def is_wanted(version, driver):
    """Say whether a version is the one that is wanted, or of the branch that is."""
    return f"{version}.".startswith(f"{driver['version']}.")


def kernels_with_headers(host):
    found = host.check_output("ls /lib/modules").split()
    return [name for name in found if host.file(f"/lib/modules/{name}/build/Makefile").exists]


def test_every_kernel_that_modules_can_be_built_for_has_the_wanted_one(host, driver):
    for kernel in kernels_with_headers(host):
        # Debian's is called nvidia-current.
        path = host.check_output(
            "find /lib/modules/%s -name 'nvidia.ko*' -o -name 'nvidia-current*.ko*'"
            " -not -name '*-*-*' | head -n 1",
            kernel,
        )
        assert path, f"kernel {kernel} has no module"
        assert is_wanted(host.check_output("/sbin/modinfo --field version %s", path), driver)
        vermagic = host.check_output("/sbin/modinfo --field vermagic %s", path)
        assert vermagic.split()[0] == kernel


def test_the_kernels_own_drivers_would_not_load(host, driver):
    assert "blacklist nouveau" in host.check_output("/sbin/modprobe --showconfig").splitlines()


@pytest.mark.gpu
def test_the_loaded_module_and_the_libraries_are_of_one_version(host, driver, gpus):
    version = ET.fromstring(host.check_output("nvidia-smi -q -x")).findtext("driver_version")
    assert is_wanted(version, driver)
    assert version in host.check_output("cat /proc/driver/nvidia/version")


@pytest.mark.gpu
def test_every_gpu_gives_memory(host, driver, gpus):
    answer = json.loads(host.check_output(f"python3 -c {shlex.quote(cuda_allocation.SCRIPT)}"))
    assert (answer["status"], answer["says"]) == (0, str(len(gpus)))
