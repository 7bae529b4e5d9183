"""PCI devices that a kernel host has by a module of its kernel; see tests/standins/pci_devices.

What they are called is for the host to say: these are their numbers, each from its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.kernel_host import guest, workshop
from lab.paths import CHECKOUT
from lab.shell import Shell

SOURCE = CHECKOUT / "tests" / "standins" / "pci_devices"
_HOME = "/usr/local/lib/pci-devices"
_MODULE = f"{_HOME}/standin_pci.ko"
_UNIT = "pci-devices.service"
# Before udev looks at what there is, as if the firmware had found them.
_UNIT_TEXT = """\
[Unit]
Description=PCI devices that are not there
DefaultDependencies=no
Before=systemd-udev-trigger.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=insmod {module} devices={devices}
ExecStop=rmmod standin_pci

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Device:
    """A device, by the numbers of its configuration space.

    :ivar address: "0000:3b:00.0".
    """

    address: str
    vendor: int
    device: int
    of_class: int
    subvendor: int
    subdevice: int
    revision: int

    def __str__(self):
        return (
            f"{self.address}={self.vendor:04x}:{self.device:04x}:{self.of_class:06x}:"
            f"{self.subvendor:04x}:{self.subdevice:04x}:{self.revision:02x}"
        )


# Vendors, devices and classes are those of the PCI ID Repository (pci-ids.ucw.cz), as lspci shows
# them on a host with these: bigstack-oss/cubecos, issue 259. The subsystem of the H200 is the one
# of the table in the README of NVIDIA/open-gpu-kernel-modules; of the others it matters to nobody.


def h200(address="0000:3b:00.0"):
    """Return a GPU: H200 SXM."""
    return Device(address, 0x10DE, 0x2335, 0x030200, 0x10DE, 0x18BE, 0xA1)


def nvswitch(address="0000:b7:00.0"):
    """Return an NVSwitch of the third generation, as boards with eight of the former have four."""
    return Device(address, 0x10DE, 0x22A3, 0x068000, 0x10DE, 0, 0xA1)


def connectx(address="0000:5e:00.0"):
    """Return an adapter of InfiniBand: ConnectX-7."""
    return Device(address, 0x15B3, 0x1021, 0x020700, 0x15B3, 0, 0)


class PciDevices:
    """What a kernel host has on its PCI bus beside what its machine has.

    :ivar shown: the devices.
    """

    def __init__(self, lab, host, folder):
        """:param host: a lab.kernel_host.host.KernelHost.
        :param folder: a new one, in which the module is built.
        """
        self._host, self._shell = host, Shell(lab, host.name)
        self._folder = folder
        self.shown = ()

    def install(self, say=lambda sentence: None):
        """Build the module for the host's kernel and bring it there."""
        tree = workshop.ensure(guest.kernel(self._host.tree), say)
        module = workshop.build(tree, SOURCE, self._folder)
        self._host.put(_MODULE, module.read_bytes())

    def show(self, *devices):
        """Have these devices, from now on and after each boot, in place of those before."""
        self.shown = devices
        shown = ",".join(map(str, devices))
        text = _UNIT_TEXT.format(module=_MODULE, devices=shown)
        self._shell.says(f"systemctl stop {_UNIT}; true")
        self._host.put(f"/etc/systemd/system/{_UNIT}", text.encode())
        self._shell.says(f"systemctl daemon-reload && systemctl enable --quiet --now {_UNIT}")
        self._shell.says("udevadm settle --timeout=120")
