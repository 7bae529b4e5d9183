# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many workers an application gets by ``workers: auto``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import pci

AUTO = "auto"
# What a worker of a web application takes at the least once it has loaded its libraries.
_WORKER_MIB = 256
_MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": _MIB, "G": 1 << 30, "T": 1 << 40}


class Resources(NamedTuple):
    """What a host has for workers.

    :ivar processors: how many services may use, 0 where the host does not tell.
    :ivar memory_mib: its memory in MiB, 0 where the host does not tell.
    :ivar gpus: how many NVIDIA GPUs its programs may use.
    """

    processors: int
    memory_mib: int
    gpus: int


def resources_of(facts: facts_shape.Facts) -> Resources:
    """Return the Resources that facts tell of."""
    return Resources(facts["processor_nproc"], facts["memtotal_mb"], len(pci.own(facts["gpus"])))


def workers(item: Mapping[str, Any], has: Resources) -> tuple[int, str]:
    """Return (how many workers, why).

    An application that uses GPUs gets one for each. Any other gets what gunicorn recommends,
    ``(2 x cores) + 1`` (docs.gunicorn.org, Design, "How Many Workers?"), and no more than its
    memory has room for. What is said tells no amount that changes while the number does not.

    :param item: the options of the application: gpu, and memory_max, None where it has none.
    :param has: what the host has for them.
    """
    if item["gpu"]:
        if not has.gpus:
            return 1, "it uses GPUs, and no GPU is there"
        return has.gpus, f"one for each of {_counted(has.gpus, 'GPU')}"
    processors = max(has.processors, 1)
    limits = [(2 * processors + 1, f"(2 x {_counted(processors, 'processor')}) + 1")]
    room = f"{_WORKER_MIB} MiB for each in"
    if has.memory_mib > 0:
        limits.append((has.memory_mib // _WORKER_MIB, f"{room} the memory of the host"))
    limit = item.get("memory_max")
    if limit:
        limits.append((_mib(limit) // _WORKER_MIB, f"{room} memory_max {limit}"))
    number, why = min(limits, key=lambda row: row[0])
    return max(number, 1), why


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _mib(text: str) -> int:
    """Return a number of bytes, or one with K, M, G or T, in whole MiB."""
    unit = _UNITS.get(text[-1], 1)
    return int(text.rstrip("KMGT")) * unit // _MIB
