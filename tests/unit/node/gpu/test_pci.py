"""NVIDIA's devices on the PCI bus, from small sysfs trees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import pci

DEVICES = "/sys/bus/pci/devices"
V100 = {
    "vendor": "0x10de\n",
    "device": "0x1db5\n",
    "class": "0x030200\n",
    "subsystem_vendor": "0x10de\n",
    "subsystem_device": "0x1249\n",
}


def bus(devices, drivers=None):
    """Return the files and links of PCI devices: {address: {file: content}}, {address: driver}."""
    files = {
        f"{DEVICES}/{address}/{name}": content
        for address, names in devices.items()
        for name, content in names.items()
    }
    links = {
        f"{DEVICES}/{address}/driver": f"../../../bus/pci/drivers/{driver}"
        for address, driver in (drivers or {}).items()
    }
    return files, links


def test_a_gpu_is_told_with_its_board_its_driver_and_its_architecture(tmp_path):
    tree = planted(tmp_path, *bus({"0000:3b:00.0": V100}, {"0000:3b:00.0": "nvidia"}))
    assert pci.gpus(tree) == [
        {
            "address": "0000:3b:00.0",
            "device": "1db5",
            "subsystem": "10de:1249",
            "class": "0302",
            "driver": "nvidia",
            "architecture": "volta",
        }
    ]


def test_gpus_with_a_screen_and_without_a_driver_come_in_the_order_of_the_bus(tmp_path):
    screen = {**V100, "class": "0x030000\n"}
    devices = {"0000:d8:00.0": screen, "0000:3b:00.0": V100}
    rows = pci.gpus(planted(tmp_path, *bus(devices, {"0000:d8:00.0": "nouveau"})))
    assert [(row["address"], row["class"], row["driver"]) for row in rows] == [
        ("0000:3b:00.0", "0302", ""),
        ("0000:d8:00.0", "0300", "nouveau"),
    ]


def test_sound_of_a_gpu_and_screens_of_other_vendors_are_no_gpus(tmp_path):
    sound, screen = {**V100, "class": "0x040300\n"}, {**V100, "class": "0x030000\n"}
    devices = {"0000:01:00.1": sound, "0000:02:00.0": {**screen, "vendor": "0x1a03\n"}}
    assert pci.gpus(planted(tmp_path, *bus(devices))) == []


def test_an_nvswitch_is_told_and_is_no_gpu(tmp_path):
    switch = {**V100, "device": "0x1af1\n", "class": "0x068000\n"}
    tree = planted(tmp_path, *bus({"0000:c4:00.0": switch}, {"0000:c4:00.0": "nvidia-nvswitch"}))
    row = {"address": "0000:c4:00.0", "device": "1af1", "driver": "nvidia-nvswitch"}
    assert pci.nvswitches(tree) == [row]
    assert pci.gpus(tree) == []


@pytest.mark.parametrize("device", ["0x0373", "0x0057", "0x0d7d"])
def test_a_bridge_of_an_nforce_chipset_is_no_nvswitch(tmp_path, device):
    bridge = {**V100, "device": device, "class": "0x068000\n"}
    tree = planted(tmp_path, *bus({"0000:00:08.0": bridge}, {"0000:00:08.0": "forcedeth"}))
    assert pci.nvswitches(tree) == []


@pytest.mark.parametrize("device", ["0x1ac2", "0x1af1", "0x22a3"])
def test_an_nvswitch_of_any_generation_is_told(tmp_path, device):
    switch = {**V100, "device": device, "class": "0x068000\n"}
    assert len(pci.nvswitches(planted(tmp_path, *bus({"0000:c4:00.0": switch})))) == 1


@pytest.mark.parametrize(
    ("driver", "is_own"),
    [
        ("vfio-pci", False),
        ("pci-stub", False),
        ("pciback", False),
        ("xen-pciback", False),
        ("nvgrace-gpu-vfio-pci", False),
        ("nvgrace_gpu_vfio_pci", False),
        ("nvidia", True),
        ("nouveau", True),
        ("", True),
        ("nvidia-vgpu-vfio", True),
    ],
)
def test_a_gpu_that_is_held_for_a_guest_is_not_the_hosts_own(driver, is_own):
    assert bool(pci.own([{"driver": driver}])) == is_own


def test_a_gpu_that_tells_nothing_but_its_kind_is_a_row_of_empty_values(tmp_path):
    gpu = {"vendor": "0x10de\n", "class": "0x030200\n", "device": b"\xff\0"}
    (row,) = pci.gpus(planted(tmp_path, *bus({"0000:3b:00.0": gpu})))
    assert (row["device"], row["subsystem"], row["architecture"]) == ("", "", "")


def test_a_host_without_sysfs_has_no_devices(tmp_path):
    assert pci.gpus(planted(tmp_path)) == pci.nvswitches(planted(tmp_path)) == []


@given(st.dictionaries(st.sampled_from(["device", "subsystem_vendor", "driver"]), st.binary()))
def test_no_content_of_sysfs_is_an_error(rubbish):
    gpu = {"vendor": "0x10de", "class": "0x030200", **rubbish}
    rows = looked_at(pci.gpus, *bus({"0000:3b:00.0": gpu}))
    assert [set(map(type, row.values())) for row in rows] == [{str}]


@pytest.mark.parametrize(
    ("device", "driver", "is_idle"),
    [
        ("0x101b", None, True),
        ("0xa2dc", None, True),
        ("0x1021", "mlx5_core", False),
        ("0x1021", "vfio-pci", False),
        # ConnectX-3, which mlx4_core drives, and which OFED has no more.
        ("0x1003", None, False),
    ],
)
def test_an_adapter_is_idle_that_mlx5_core_would_drive_and_no_driver_has(
    tmp_path, device, driver, is_idle
):
    address = "0000:5e:00.0"
    top = f"/sys/bus/pci/devices/{address}"
    files = {f"{top}/vendor": "0x15b3\n", f"{top}/device": f"{device}\n"}
    links = {f"{top}/driver": f"../../drivers/{driver}"} if driver else {}
    assert pci.idle_adapters(planted(tmp_path, files, links)) == ([address] if is_idle else [])
