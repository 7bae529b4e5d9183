"""One kernel host for all tests: it boots once, and what it has on its PCI bus stands in."""

from __future__ import annotations

import pytest

from kernel.kernel_runs import KernelRuns
from lab import inventory, textfile
from lab.node import Lab
from lab.paths import CHECKOUT
from lab.shell import Shell
from standins import pci_devices

#: A GPU of a board with NVSwitches, one of these, and an adapter.
DEVICES = (pci_devices.h200(), pci_devices.nvswitch(), pci_devices.connectx())


@pytest.fixture(scope="session")
def kernel_lab():
    """The lab of this checkout with one new kernel host, which is off again afterwards."""
    lab = Lab(CHECKOUT, say=lambda sentence: print(sentence, flush=True))
    lab.up_kernel_hosts(1, fresh=True)
    yield lab
    lab.up_kernel_hosts(0)


@pytest.fixture(scope="session")
def kernel_host(kernel_lab):
    (host,) = kernel_lab.kernel_hosts
    return host


@pytest.fixture(scope="session")
def shell(kernel_lab, kernel_host):
    """Commands on the kernel host."""
    return Shell(kernel_lab, kernel_host.name)


@pytest.fixture(scope="session")
def devices(kernel_lab, kernel_host, tmp_path_factory):
    """The PciDevices of the host, which shows DEVICES."""
    made = pci_devices.PciDevices(kernel_lab, kernel_host, tmp_path_factory.mktemp("pci") / "built")
    made.install()
    made.show(*DEVICES)
    return made


@pytest.fixture(scope="session")
def runs(kernel_lab, kernel_host, tmp_path_factory):
    """Playbooks on the kernel host alone, see KernelRuns."""
    folder = tmp_path_factory.mktemp("runs")
    hosts = inventory.render([kernel_host], kernel_lab.paths, {})
    textfile.put(folder / "hosts.yml", hosts)
    return KernelRuns(kernel_host.name, folder)
