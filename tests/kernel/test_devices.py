"""GPUs, NVSwitches and adapters on the bus of a real kernel: what it shows, and what we see."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

GPU, SWITCH, ADAPTER = "0000:3b:00.0", "0000:b7:00.0", "0000:5e:00.0"


@pytest.fixture(scope="module")
def facts(devices, runs):
    return runs.facts()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (GPU, "3D controller [0302]: NVIDIA Corporation GH100 [H200 SXM 141GB] [10de:2335]"),
        (SWITCH, "Bridge [0680]: NVIDIA Corporation GH100 [H100 NVSwitch] [10de:22a3]"),
        (ADAPTER, "Infiniband controller [0207]: Mellanox Technologies MT2910 Family [ConnectX-7]"),
    ],
)
def test_lspci_names_each_device_as_its_vendor_does(devices, shell, address, words):
    assert words in shell.says(f"lspci -Dnn -s {address}")


def test_udev_loads_the_kernels_own_drivers_and_none_of_them_gets_a_device(devices, shell):
    loaded = shell.says("lsmod")
    assert {"nouveau", "mlx5_core"} <= {line.split()[0] for line in loaded.splitlines()}
    for address in (GPU, SWITCH, ADAPTER):
        assert shell.says(f"readlink /sys/bus/pci/devices/{address}/driver; true") == ""
    assert "Oops" not in shell.says("dmesg")


def test_the_look_sees_what_lspci_sees(facts):
    (gpu,), (switch,) = facts["gpus"], facts["nvswitches"]
    assert gpu == {
        "address": GPU,
        "device": "2335",
        "subsystem": "10de:18be",
        "class": "0302",
        "driver": "",
        "architecture": "hopper",
    }
    assert switch == {"address": SWITCH, "device": "22a3", "driver": ""}
    assert facts["rdma_stack"]["idle"] == [ADAPTER]
    assert facts["rdma_devices"] == []


def test_the_look_sees_a_kernel_that_runs_is_next_and_holds_the_kernels_own_driver(facts, shell):
    assert facts["own_kernel"] is True
    (kernel,) = facts["kernels"]
    assert kernel["release"] == shell.says("uname -r")
    assert kernel["running"] is True
    assert kernel["next"] is True
    assert facts["in_kernel_drivers"]["nouveau"]["loaded"] is True
    assert facts["secure_boot"]["efi"] is True
    assert facts["secure_boot"]["enabled"] is False


def test_the_plan_asks_for_a_driver_and_what_the_board_needs(devices, runs):
    plan, run = runs.plan(gpunode_stack="r550")
    assert run.status == 0, run.messages()
    assert plan["status"] == "changes"
    steps = {step["component"]: step for step in plan["stack"]["steps"]}
    assert {"not-installed", "no-fabric-manager", "in-kernel-driver"} <= set(
        steps["nvidia_driver"]["rules"]
    )
    assert "no NVIDIA GPU is to be seen" not in run.messages()


def test_a_device_that_is_gone_is_seen_no_more(devices, runs, shell):
    everything = devices.shown
    devices.show(*[device for device in everything if device.address == GPU])
    try:
        assert "ConnectX" not in shell.says("lspci")
        facts = runs.facts()
        assert [gpu["address"] for gpu in facts["gpus"]] == [GPU]
        assert facts["nvswitches"] == []
        assert facts["rdma_stack"]["idle"] == []
    finally:
        devices.show(*everything)
