"""A kernel's own driver has the GPU, or the firmware asks for signatures: what loads, and when."""

from __future__ import annotations

import pytest

from standins.machine import Machine
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND = "535.161.08", "535.183.01"
KEY = "/var/lib/dkms/mok.pub"
REBOOT = {"gpunode_consent": ["reboot"]}
UNENROLLED = {"gpunode_consent": ["unenrolled_key"]}


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(lab, NODE, console="nouveau")
    made.install()
    made.in_kernel_driver(initramfs=True)
    made.reboot()
    yield made
    lab.fresh(NODE)


def image_holds(machine):
    return "nouveau" in machine.says("lsinitramfs /boot/initrd.img-$(uname -r)")


def test_an_in_kernel_driver_that_draws_the_console_goes_with_the_reboot_and_out_of_the_initramfs(
    converge, files, machine
):
    assert (machine.loaded(), image_holds(machine)) == (["nouveau"], True)
    boots = machine.boots()
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    assert "reboot waits for gpunode_consent: [reboot]" in done.messages()
    assert "nouveau has the GPU" in done.messages()
    assert (machine.loaded(), image_holds(machine)) == (["nouveau"], False)
    assert driver_runs.is_settled(converge(files[FIRST]), NODE)
    assert machine.boots() == boots
    done = converge(files[FIRST], **REBOOT)
    assert done.status == 0, done.messages()
    assert (machine.loaded(), machine.boots()) == (["nvidia"], boots + 1)
    assert FIRST in machine.says("nvidia-smi")
    assert machine.says("systemctl is-active nvidia-persistenced") == "active"
    assert driver_runs.is_settled(converge(files[FIRST], **REBOOT), NODE)
    assert machine.boots() == boots + 1


def test_an_in_kernel_driver_that_nobody_uses_gives_way_at_once(converge, files, machine):
    done = converge(None, nvidia_driver_state="absent")
    assert done.status == 0, done.messages()
    machine.has(console="")
    assert machine.loaded() == ["nouveau"]
    boots = machine.boots()
    done = converge(files[FIRST])
    assert done.status == 0, done.messages()
    assert "unload nouveau" in done.changes(NODE)
    assert (machine.loaded(), machine.boots()) == (["nvidia"], boots)
    assert driver_runs.is_settled(converge(files[FIRST]), NODE)


def test_without_an_enrolled_key_nothing_is_built_but_by_consent(converge, files, machine):
    machine.has(secure_boot={"enabled": True, "enrolled": [KEY]})
    # The key that DKMS made for the first driver is known no more.
    machine.has(secure_boot={"enabled": True, "enrolled": []})
    assert machine.loaded() == []
    refused = converge(files[SECOND])
    assert refused.status != 0
    assert f"mokutil --import {KEY}" in refused.messages()
    assert machine.says("ls /usr/src | grep nvidia-") == f"nvidia-{FIRST}"
    done = converge(files[SECOND], **UNENROLLED)
    assert done.status == 0, done.messages()
    assert f"mokutil --import {KEY}" in done.messages()
    assert machine.loaded() == []
    module = machine.says("modinfo --field signer nvidia; modinfo --field version nvidia")
    signer, version = module.splitlines()
    assert signer
    assert version == SECOND
    again = converge(files[SECOND], **UNENROLLED)
    assert driver_runs.is_settled(again, NODE)
    assert f"mokutil --import {KEY}" in again.messages()


def test_once_the_key_is_enrolled_the_next_boot_loads_what_was_signed(converge, files, machine):
    machine.has(secure_boot={"enabled": True, "enrolled": [KEY]})
    assert machine.loaded() == ["nvidia"]
    done = converge(files[SECOND])
    assert done.status == 0, done.messages()
    assert machine.says("systemctl is-active nvidia-persistenced") == "active"
    assert driver_runs.is_settled(converge(files[SECOND]), NODE)


def test_with_an_enrolled_key_a_change_is_signed_and_loaded_at_once(converge, files, machine):
    boots = machine.boots()
    done = converge(files[FIRST], gpunode_consent=["stop_gpu_clients"])
    assert done.status == 0, done.messages()
    assert FIRST in machine.says("nvidia-smi")
    assert machine.says("modinfo --field signer nvidia")
    assert machine.boots() == boots
    assert driver_runs.is_settled(converge(files[FIRST]), NODE)
