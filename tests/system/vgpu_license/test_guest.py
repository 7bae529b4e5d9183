"""A fresh guest with a vGPU is driven and licensed in one run."""

from __future__ import annotations

import pytest

from standins.machine import STANDIN, Machine, gpu
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
VERSION = "535.161.08"
TOKEN = "client_configuration_token_1.tok"
VGPU = "NVIDIA Virtual Compute Server"


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(lab, NODE, gpus=[gpu(name="GRID A100D-20C", mode="VGPU", licensed_product=VGPU)])
    made.install()
    yield made
    lab.fresh(NODE)


def test_a_fresh_guest_is_driven_and_licensed_in_one_run(lab, machine, tmp_path):
    file = driver_runs.file(
        tmp_path, lab, machine, VERSION, flavour="grid", units=STANDIN / "units"
    )
    (tmp_path / TOKEN).write_text("e30.e30.c2ln\n")
    wanted = {"gpunode_driver_flavour": "grid", "vgpu_license_token": str(tmp_path / TOKEN)}
    converge = driver_runs.converging(tmp_path / "ssh", NODE)
    done = converge(file, vgpu_license_wait_s=20, **wanted)
    assert done.status == 0, done.messages()
    assert machine.loaded() == ["nvidia"]
    assert "Licensed (Expiry" in machine.says("nvidia-smi -q -x")
    again = converge(file, vgpu_license_wait_s=20, **wanted)
    assert driver_runs.is_settled(again, NODE)
    assert len(again.round_trips) == 1
    # What is licensed and computes nothing is told by the licence, and not by the driver.
    machine.cuda_error(999)
    machine.says("systemctl stop nvidia-gridd")
    done = converge(file, vgpu_license_wait_s=20, **wanted)
    assert done.status != 0
    assert "they are licensed, and give no memory: cuCtxCreate_v2 says CUDA_ERROR_UNKNOWN" in (
        done.messages()
    )
