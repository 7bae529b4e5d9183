# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""NVIDIA's devices on a host's PCI bus, those of Mellanox too: no driver is needed to see them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ..facts_shape import Gpu, NvSwitch, PciDevice
from ..system.root import Root
from . import architectures

_DEVICES = "/sys/bus/pci/devices"
_NVIDIA, _MELLANOX = "10de", "15b3"
# What mlx5_core drives, by device id: the Linux kernel's
# drivers/net/ethernet/mellanox/mlx5/core/main.c, mlx5_core_pci_table.
_MLX5 = re.compile("10(?:1[1-9a-f]|21|23|25|27)|a2d[2367cf]")
# PCI Code and ID Assignment Specification: VGA compatible controller, 3D controller.
_GPU_CLASSES = ("0300", "0302")
# "Other bridge": what the driver takes for an NVSwitch, whatever its device id
# (NVIDIA/open-gpu-kernel-modules@df1c9a3de2be4b130f4fc7680f7198193d8ac6ad:
# kernel-open/nvidia/linux_nvswitch.c, nvswitch_pci_table). So are network adapters of the nForce
# chipsets, such as 0373, of which none has an id from here on (the Linux kernel's
# drivers/net/ethernet/nvidia/forcedeth.c, pci_tbl, ends with 0d7d).
_NVSWITCH_CLASSES = ("0680",)
_AFTER_NFORCE = "1000"
# Who holds a device for a guest: the kernel's drivers/vfio/pci, in which nvgrace-gpu is one of
# several with this ending, drivers/pci/pci-stub.c, and drivers/xen/xen-pciback.
_FOR_GUESTS = re.compile(r"(?:.+-)?vfio-pci|pci-stub|(?:xen-)?pciback")


def gpus(tree: Root) -> list[Gpu]:
    """Return one row per NVIDIA GPU: address, device, subsystem, class, driver, architecture."""
    return [
        {
            **_row(tree, address),
            "subsystem": ":".join(
                _digits(tree, address, name) for name in ("subsystem_vendor", "subsystem_device")
            ).strip(":"),
            "class": _digits(tree, address, "class"),
            "architecture": architectures.of(_digits(tree, address, "device")),
        }
        for address in _addresses(tree, _GPU_CLASSES)
    ]


def own(rows: Iterable[Gpu]) -> list[Gpu]:
    """Return those rows of :func:`gpus` that the host has for itself: none that a guest gets."""
    return [row for row in rows if not is_for_guests(row["driver"])]


def is_for_guests(driver: str) -> bool:
    """Say whether a driver holds a device for a guest.

    :param driver: its name, be it written as the file or, with underscores, as the module.
    """
    return bool(_FOR_GUESTS.fullmatch(driver.replace("_", "-")))


def nvswitches(tree: Root) -> list[NvSwitch]:
    """Return one row per NVSwitch: address, device, driver."""
    rows = [_row(tree, address) for address in _addresses(tree, _NVSWITCH_CLASSES)]
    return [row for row in rows if row["device"] >= _AFTER_NFORCE]


def idle_adapters(tree: Root) -> list[str]:
    """Return the addresses of the RDMA adapters that mlx5_core drives and that no driver has."""
    return [
        address
        for address in tree.names(_DEVICES)
        if _digits(tree, address, "vendor") == _MELLANOX
        and _MLX5.fullmatch(_digits(tree, address, "device"))
        and not tree.target(f"{_DEVICES}/{address}/driver")
    ]


def _addresses(tree: Root, classes: Collection[str]) -> list[str]:
    """Return the addresses of NVIDIA's devices of some classes, in the order of the bus."""
    return [
        address
        for address in tree.names(_DEVICES)
        if _digits(tree, address, "vendor") == _NVIDIA
        and _digits(tree, address, "class") in classes
    ]


def _row(tree: Root, address: str) -> PciDevice:
    return {
        "address": address,
        "device": _digits(tree, address, "device"),
        "driver": tree.target(f"{_DEVICES}/{address}/driver"),
    }


def _digits(tree: Root, address: str, name: str) -> str:
    """Return the first four digits of a number in sysfs, "0x030200" as "0302"; '' for none.

    Of a class the last two digits are the programming interface, which says nothing here.
    """
    found = re.match(r"0x([0-9a-f]{4})", tree.text(f"{_DEVICES}/{address}/{name}"))
    return found.group(1) if found else ""
