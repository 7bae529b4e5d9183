"""How many workers ``workers: auto`` gives an application on a host, and what is said of it."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import sizing

NVIDIA = {"driver": "nvidia"}
PASSED_ON = [{"driver": name} for name in ("vfio-pci", "nvgrace-gpu-vfio-pci", "pci-stub")]
# {case: (processors, memory in MiB, GPUs, options of the application, workers, why)}
CASES = {
    "gunicorn's own rule": (4, 16_000, [], {}, 9, "(2 x 4 processors) + 1"),
    "one processor": (1, 16_000, [], {}, 3, "(2 x 1 processor) + 1"),
    "a large host": (128, 1_000_000, [], {}, 257, "(2 x 128 processors) + 1"),
    "a small host": (16, 1_024, [], {}, 4, "256 MiB for each in the memory of the host"),
    "a tiny host": (16, 100, [], {}, 1, "256 MiB for each in the memory of the host"),
    "room for exactly those": (4, 2_304, [], {}, 9, "(2 x 4 processors) + 1"),
    "a limit": (16, 64_000, [], {"memory_max": "2G"}, 8, "256 MiB for each in memory_max 2G"),
    "a limit in bytes": (
        16, 64_000, [], {"memory_max": "536870912"}, 2, "256 MiB for each in memory_max 536870912",
    ),
    "a limit in KiB": (8, 64_000, [], {"memory_max": "1048576K"}, 4, "in memory_max 1048576K"),
    "a limit beyond the host": (
        16, 1_024, [], {"memory_max": "1T"}, 4, "256 MiB for each in the memory of the host",
    ),
    "a limit of no matter": (2, 64_000, [], {"memory_max": "8G"}, 5, "(2 x 2 processors) + 1"),
    "GPUs": (64, 512_000, [NVIDIA] * 8, {"gpu": True}, 8, "one for each of 8 GPUs"),
    "a GPU": (64, 512_000, [NVIDIA], {"gpu": True}, 1, "one for each of 1 GPU"),
    "a GPU before its driver": (8, 64_000, [{"driver": ""}], {"gpu": True}, 1, "of 1 GPU"),
    "GPUs that guests have": (
        64, 512_000, [NVIDIA, *PASSED_ON], {"gpu": True}, 1, "one for each of 1 GPU",
    ),
    "none of its GPUs": (8, 64_000, [], {"gpu": True}, 1, "no GPU is there"),
    "GPUs and no use for them": (2, 64_000, [NVIDIA] * 8, {}, 5, "(2 x 2 processors) + 1"),
    "a host that tells nothing": (0, 0, [], {}, 3, "(2 x 1 processor) + 1"),
    "a host that tells nonsense": (-5, -1, [], {}, 3, "(2 x 1 processor) + 1"),
}  # fmt: skip


def workers(processors, memory, gpus, options):
    facts = {
        **facts_shape.empty(facts_shape.Facts),
        "processor_nproc": processors,
        "memtotal_mb": memory,
        "gpus": [{**facts_shape.empty(facts_shape.Gpu), **gpu} for gpu in gpus],
    }
    return sizing.workers({"gpu": False, "memory_max": None, **options}, sizing.resources_of(facts))


@pytest.mark.parametrize("case", CASES)
def test_there_are_as_many_workers_as_the_host_is_made_for(case):
    *given, number, why = CASES[case]
    found, says = workers(*given)
    assert found == number
    assert why in says


def test_what_is_said_is_the_same_while_the_number_is():
    # A kernel counts its memory a little otherwise than the one before.
    assert workers(16, 1_024, [], {}) == workers(16, 1_030, [], {})
