# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the NVIDIA driver complained of since the host started, of GPUs and of NVSwitches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypedDict

from ..facts_shape import GpuFault, SwitchFault
from ..kernel import kernel_log, kernels
from ..system.root import Root
from . import pci

_WORDS = "NVRM|SXid"
_ADDRESS = r"(?P<address>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-9a-f])?)"
# NVIDIA/open-gpu-kernel-modules, src/nvidia/src/kernel/gpu/rc/kernel_rc.c; with MIG the
# instance follows the address, and drivers before R3xx left out PCI.
_XID = re.compile(rf"NVRM: Xid \((?:PCI:)?{_ADDRESS}[^)]*\): (?P<xid>[0-9]{{1,9}})\b", re.I)
# The same, src/common/nvswitch/kernel/inc/error_nvswitch.h: further lines of an error have its
# severity and data in place of the word, and some errors have none, such as those of heat.
_SXID = re.compile(
    rf"(?P<says>SXid \((?:PCI:)?{_ADDRESS}\): (?P<sxid>[0-9]{{1,9}}), "
    r"(?!Severity\b|Data\b)(?P<word>Fatal\b|Non-fatal\b)?.*)",
    re.I,
)
# A guest driver of these words was turned away by the vGPU manager of its host.
GUEST_REJECTED = "Guest driver is incompatible with host driver"
# The kernel logs as well what crashed, by its name of up to 15 bytes, and the file that it crashed
# in: arch/x86/mm/fault.c, show_signal_msg, and print_vma_addr. Users choose both. Some kernels have
# their own thread before a message.
_OF_DRIVER = re.compile(
    r"(?:\[[^\]]*\]|\s)*(?!.{1,15}\[\d+\])(?:NVRM: |(?:nvidia-nvswitch\d*: )?SXid \()"
)
# What has no number: nv.c, "GPU 0000:3b:00.0: GPU has fallen off the bus."; osinit.c, where the
# driver is loaded or a GPU is opened for the first time, and of a GPU that it does not support,
# where the first one of some lines has the address: "The NVIDIA GPU 0000:3b:00.0".
_WITHOUT_NUMBER = (
    "fallen off the bus",
    "RmInitAdapter failed",
    # nv-pci.c: the firmware, or the kernel, gave its memory no addresses.
    " is 0M @ 0x0",
    "host system is not supported by",
    "installed in this system is not supported by",
    # Of a guest with a virtual GPU, at times without the address.
    GUEST_REJECTED,
)
_GPU = re.compile(rf"NVRM: .*?(?:\bGPU (?:at )?(?:PCI:)?|\(PCI:){_ADDRESS}", re.I)


class Faults(TypedDict):
    """What the driver complained of, as docs/facts.md has it."""

    gpu_faults: list[GpuFault]
    faults_unknown: bool
    switch_faults: list[SwitchFault]


def survey(tree: Root) -> Faults:
    """Return {gpu_faults, faults_unknown, switch_faults}; see docs/facts.md.

    Nothing is asked where there is neither a device of NVIDIA's nor the driver.
    """
    has_devices = pci.gpus(tree) or pci.nvswitches(tree)
    is_asked = has_devices or "nvidia" in kernels.loaded_modules(tree)
    told = kernel_log.told(tree, _WORDS) if is_asked else kernel_log.Told([], True)
    lines = [line for line in told.lines if _OF_DRIVER.match(line)]
    of_gpus, of_switches = dict(_of_gpus(lines)), dict(_of_switches(lines))
    return {
        "gpu_faults": [
            {"address": at, "xid": xid, "says": says}
            for (at, xid, _what), says in sorted(of_gpus.items())
        ],
        "faults_unknown": not told.known,
        "switch_faults": [
            {"address": at, "sxid": sxid, "fatal": is_fatal, "says": says}
            for (at, sxid), (is_fatal, says) in sorted(of_switches.items())
        ],
    }


def _of_gpus(lines: Sequence[str]) -> Iterator[tuple[tuple[str, int, str], str]]:
    """Yield ((address, xid, what has no number), what was said) of each fault in a log."""
    address = ""
    for line in lines:
        says = line.partition("NVRM:")[2].strip()
        xid, gpu = _XID.search(line), _GPU.search(line)
        address = gpu.group("address") if gpu else address
        if xid:
            yield (_pci(xid.group("address")), int(xid.group("xid")), ""), says
            continue
        for words in _WITHOUT_NUMBER:
            if words in line and (address or words == GUEST_REJECTED):
                yield (_pci(address), 0, words), says
                break


def _of_switches(lines: Sequence[str]) -> Iterator[tuple[tuple[str, int], tuple[bool, str]]]:
    """Yield ((address, sxid), (is fatal, what was said)) of each error of an NVSwitch in a log."""
    for found in filter(None, map(_SXID.search, lines)):
        is_fatal = (found.group("word") or "").lower() == "fatal"
        key = _pci(found.group("address")), int(found.group("sxid"))
        yield key, (is_fatal, found.group("says").strip())


def _pci(address: str) -> str:
    """Return an address as sysfs writes it, '' for none; the driver leaves out the function."""
    if not address:
        return ""
    domain, rest = address.lower().split(":", 1)
    return f"{int(domain, 16):04x}:{rest if '.' in rest else rest + '.0'}"
