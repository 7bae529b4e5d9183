# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the NVIDIA driver complained of since the host started.

The journal is asked first: the kernel's own log is a ring in which a chatty host has overwritten
the fault of last week. It is asked for the driver's lines alone, and for the last of them, since
a broken GPU can fill a disk. Where it has none of them, or there is no journal, dmesg has what is
left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..kernel import kernels
from ..system.root import Root
from . import pci

_LINES = 2000
_JOURNAL = (
    *("journalctl", "--dmesg", "--boot", "--grep=NVRM", f"--lines={_LINES}"),
    *("--output=cat", "--no-pager", "--quiet"),
)
_DMESG = ("dmesg", "--notime")
_ADDRESS = r"(?P<address>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-9a-f])?)"
# NVIDIA/open-gpu-kernel-modules, src/nvidia/src/kernel/gpu/rc/kernel_rc.c; with MIG the
# instance follows the address, and drivers before R3xx left out PCI.
_XID = re.compile(rf"NVRM: Xid \((?:PCI:)?{_ADDRESS}[^)]*\): (?P<xid>[0-9]{{1,9}})\b", re.I)
_BUS = "fallen off the bus"
# nv.c: "GPU 0000:3b:00.0: GPU has fallen off the bus."; osinit.c, when the driver is loaded,
# three lines of which the first one has the address: "The NVIDIA GPU 0000:3b:00.0".
_GPU = re.compile(rf"NVRM: .*?\bGPU (?:at )?(?:PCI:)?{_ADDRESS}", re.I)


def faults(tree: Root) -> list[dict[str, Any]]:
    """Return [{address, xid, says}], one row per GPU and kind with what was said last.

    A GPU that fell off the bus without a number has xid 0. Nothing is asked where there is neither
    a GPU nor the driver.
    """
    if not pci.gpus(tree) and "nvidia" not in kernels.loaded_modules(tree):
        return []
    # With --grep and --lines, journalctl begins with the newest.
    told = list(_faults(tree.answer(*_JOURNAL)))[::-1] or _faults(tree.answer(*_DMESG))
    return [
        {"address": at, "xid": xid, "says": says} for (at, xid), says in sorted(dict(told).items())
    ]


def _faults(log: str) -> Iterator[tuple[tuple[str, int], str]]:
    """Yield ((address, xid), what was said) for each line of a log that tells of a fault."""
    address = ""
    for line in log.splitlines():
        says = line.partition("NVRM:")[2].strip()
        xid, gpu = _XID.search(line), _GPU.search(line)
        address = gpu.group("address") if gpu else address
        if xid:
            key = _pci(xid.group("address")), int(xid.group("xid"))
            yield key, says
        elif _BUS in line and address:
            yield (_pci(address), 0), says


def _pci(address: str) -> str:
    """Return an address as sysfs writes it; the driver leaves out the function."""
    domain, rest = address.lower().split(":", 1)
    return f"{int(domain, 16):04x}:{rest if '.' in rest else rest + '.0'}"
