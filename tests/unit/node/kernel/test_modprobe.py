"""Kernel modules are loaded and unloaded, or it is said why not."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import modprobe
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal


def test_a_module_that_nobody_uses_goes_and_another_is_a_refusal():
    told = []

    def run(argv, **_options):
        told.append(argv)
        return subprocess.CompletedProcess(argv, int("nouveau" in argv), "", "no")

    modprobe.unload("nvidia", run)
    assert told == [["rmmod", "nvidia"]]
    with pytest.raises(Refusal, match="unload nouveau"):
        modprobe.unload("nouveau", run)


# linux v6.1, kernel/module/: main.c, version.c, signing.c; lib/ and bpf/btf.c; nv.c of the driver.
SAID = {
    "a symbol that is not there": (
        "nv_peer_mem",
        "nv_peer_mem: Unknown symbol ib_register_peer_memory_client (err -2)",
    ),
    "a symbol of another build": (
        "nvidia_peermem",
        "nvidia_peermem: disagrees about version of symbol ib_reg_user_mr",
    ),
    "another kernel": (
        "nvidia",
        "nvidia: version magic '6.1.0-9-amd64 SMP' should be '6.1.0-40-amd64 SMP'",
    ),
    "types of another build": ("nvidia", "failed to validate module [nvidia] BTF: -22"),
    "a signature": ("nvidia", "Loading of module with unavailable key is rejected"),
    "no GPU": ("nvidia", "NVRM: No NVIDIA GPU found."),
    "a GPU that it does not know": (
        "nvidia",
        "NVRM: installed in this system is not supported by the NVIDIA 595.71.05 driver release.",
    ),
}


def loaded(name, log, words="modprobe: ERROR: could not insert: Invalid argument\n"):
    def run(argv, **_options):
        if argv[0] == "dmesg":
            return subprocess.CompletedProcess(argv, 0, log, "")
        return subprocess.CompletedProcess(argv, 1, "", words)

    return modprobe.load(name, run)


@pytest.mark.parametrize("kind", SAID)
def test_why_the_kernel_does_not_take_a_module_is_told_in_its_own_words(kind):
    name, line = SAID[kind]
    log = f"usb 1-1: new device\n{line}\neth0: link is up\n"
    assert loaded(name, log) == (
        f"modprobe {name}: modprobe: ERROR: could not insert: Invalid argument "
        f"(the kernel says: {line})"
    )


# nv.c and nv-pci.c of the driver, as public logs of a GPU that a driver knows no more have it.
NOT_SUPPORTED = """\
NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:1db6)
NVRM: installed in this system is not supported by the
NVRM: NVIDIA 595.71.05 driver release.
NVRM: Please see 'Appendix A - Supported NVIDIA GPU Products'
NVRM: in this release's README, available on the operating system
NVRM: specific graphics driver download page at www.nvidia.com.
nvidia: probe of 0000:3b:00.0 failed with error -1
NVRM: The NVIDIA probe routine failed for 1 device(s).
NVRM: None of the NVIDIA devices were initialized.
nvidia-nvlink: Unregistered the Nvlink Core, major device number 236
"""


def test_what_only_says_that_it_failed_hides_no_cause():
    said = loaded("nvidia", NOT_SUPPORTED)
    cause = " / ".join(NOT_SUPPORTED.splitlines()[:3])
    assert said.endswith(f"(the kernel says: {cause})")


def test_what_the_kernel_says_of_others_is_left_out_and_of_much_the_last():
    others = "NVRM: zero\nnvidia_uvm: x\nnvidiafb: y\na nvidia: no\n"
    log = f"{others}NVRM: one\nNVRM: two\nNVRM: three\nusb: z\n"
    assert loaded("nvidia", log).endswith("(the kernel says: NVRM: one / NVRM: two / NVRM: three)")
    assert "says" not in loaded("mlx5_core", log)


def test_a_host_without_its_log_tells_what_modprobe_does():
    def run(argv, **_options):
        if argv[0] == "dmesg":
            raise FileNotFoundError(argv[0])
        return subprocess.CompletedProcess(argv, 1, "", "no")

    assert modprobe.load("nvidia", run) == "modprobe nvidia: no"


def test_of_what_is_loaded_nothing_is_asked():
    asked = []

    def run(argv, **_options):
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    assert modprobe.load("nvidia", run) == ""
    assert asked == [["modprobe", "nvidia"]]
