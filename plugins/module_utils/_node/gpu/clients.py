# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who uses the GPUs of a host: the processes that have a device of the driver open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Callable

from ..facts_shape import GpuClient
from ..kernel import kernels
from ..system import listening, processes
from ..system.root import Root

_DEVICES = "/dev/nvidia"
# Who has no work of its own on the GPUs that could be interrupted: the driver's daemons, and who
# only watches, by their names as the kernel cuts them (TASK_COMM_LEN).
_WITHOUT_WORK = (
    "nvidia-persiste",
    "nv-fabricmanage",
    "nvidia-gridd",
    "nvidia-topology",
    "nv-hostengine",
    "dcgm-exporter",
    "nvidia-smi",
)


def clients(tree: Root) -> list[GpuClient]:
    """Return [{pid, process, unit, devices}], by pid; needs root to see every process.

    Nothing is looked at where the driver is not loaded: as long as one of its devices is open,
    it cannot go.
    """
    if "nvidia" not in kernels.loaded_modules(tree):
        return []
    return who_opened(tree, lambda path: path.startswith(_DEVICES))


def who_opened(tree: Root, is_asked: Callable[[str], bool]) -> list[GpuClient]:
    """Return rows as of :func:`clients` of those who have some files open.

    :param is_asked: says of a path whether it is asked about.
    """
    rows: list[GpuClient] = []
    for pid in sorted(int(name) for name in tree.names("/proc") if _is_pid(name)):
        devices = {path for path in _open_files(tree.path(f"/proc/{pid}/fd")) if is_asked(path)}
        if devices:
            rows.append(
                {
                    "pid": pid,
                    "process": processes.named(tree.text(f"/proc/{pid}/comm")),
                    "unit": listening.unit_of(tree.text(f"/proc/{pid}/cgroup")),
                    "devices": sorted(devices),
                }
            )
    return rows


def at_work(rows: Iterable[GpuClient]) -> list[GpuClient]:
    """Return those rows of :func:`clients` that stand for work which could be interrupted."""
    return [row for row in rows if row["process"] not in _WITHOUT_WORK]


def described(row: GpuClient) -> str:
    """Return a row of :func:`clients` in words."""
    return f"{listening.owner(row)} has {', '.join(row['devices'])} open"


def _is_pid(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10


def _open_files(folder: str) -> set[str]:
    """Return the paths of a process's open files; none of one that is gone."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder):
            # It may close a file while it is looked at.
            with contextlib.suppress(OSError):
                found.add(os.readlink(os.path.join(folder, descriptor)))
    return found
