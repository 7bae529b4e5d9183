# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which architecture an NVIDIA GPU is of, by its PCI device id.

The ranges go from the first to the last id that a run of neighbours of one
architecture has in pci.ids, version 2026.10.24 (Debian's package pci.ids
0.0~2026.10.24-1), by the chip its names begin with: GK, GM, GP, GV, TU, GA, AD, GH,
GB. Ids of bridges, NVSwitches and Tegra's PCIe ports end a run. The data-centre boards
and their names agree with the table of NVIDIA/open-gpu-kernel-modules@
df1c9a3de2be4b130f4fc7680f7198193d8ac6ad:README.md, "Compatible GPUs". An id between
two runs is of no architecture we know.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..facts_shape import Gpu

# In the order of their compute capability, 3.x to 12.x, which is the order in which drivers and
# CUDA give them up; Ada is 8.9 and Hopper 9.0, whichever was sold first.
NAMES = (
    "kepler",
    "maxwell",
    "pascal",
    "volta",
    "turing",
    "ampere",
    "ada",
    "hopper",
    "blackwell",
)

# (first id, last id, architecture), in the order of the ids.
RANGES = (
    (0x0FC0, 0x103F, "kepler"),
    (0x1180, 0x11FF, "kepler"),
    (0x1280, 0x130B, "kepler"),
    (0x1340, 0x1436, "maxwell"),
    (0x15C2, 0x15FF, "pascal"),
    (0x1613, 0x1676, "maxwell"),
    (0x1725, 0x172F, "pascal"),
    (0x174D, 0x17FD, "maxwell"),
    (0x1B00, 0x1D56, "pascal"),
    (0x1D81, 0x1DF6, "volta"),
    (0x1E02, 0x1FF9, "turing"),
    (0x2080, 0x20FF, "ampere"),
    (0x2182, 0x21D1, "turing"),
    (0x2200, 0x223F, "ampere"),
    (0x2302, 0x23F0, "hopper"),
    (0x2414, 0x25FB, "ampere"),
    (0x2681, 0x28F8, "ada"),
    (0x2900, 0x2F58, "blackwell"),
    (0x3180, 0x3400, "blackwell"),
)

# Boards on a fabric of fourth generation NVSwitches, by their names in the two lists above. On
# such a system Fabric Manager needs the NVLink Subnet Manager (NVIDIA Fabric Manager User Guide
# 2.3, "Systems Using Fourth Generation NVSwitches" and "NVIDIA HGX B200/B100 GPU Baseboard"), and
# a rack of them IMEX (NVIDIA IMEX Service for NVLink Networks, "Overview").
_NVLINK5 = frozenset(
    (
        0x2901,  # B200
        0x2909,  # HGX B200 168GB
        0x290A,  # B200
        0x2920,  # TS4 / B100
        0x29BC,  # B100
        0x2941,  # GB200
        0x3182,  # B300 SXM6 AC
        0x31A1,  # GB300 MaxQ
        0x31C2,  # GB300
        0x31C3,  # GB300-252
    )
)


def of(device: str) -> str:
    """Return the architecture of a PCI device id, one of NAMES; '' for one that is not known.

    :param device: four hexadecimal digits, the vendor being NVIDIA.
    """
    number = _number(device)
    return next((name for first, last, name in RANGES if first <= number <= last), "")


def among(gpus: Iterable[Gpu]) -> list[str]:
    """Return the architectures of some GPUs, rows of pci.gpus, in the order of NAMES."""
    found = {gpu["architecture"] for gpu in gpus}
    return [name for name in NAMES if name in found]


def is_nvlink5(device: str) -> bool:
    """Say whether a board needs what only the fifth generation of NVLink needs: NVLSM or IMEX.

    :param device: as for :func:`of`.
    """
    return _number(device) in _NVLINK5


def _number(device: str) -> int:
    try:
        return int(device, 16)
    except ValueError:
        return 0
