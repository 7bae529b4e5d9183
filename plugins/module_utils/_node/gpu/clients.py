# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who uses the GPUs of a host: the processes that have a device of the driver open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable

from ..facts_shape import GpuClient
from ..kernel import kernels
from ..system import listening, processes
from ..system.open_files import OpenFiles
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


def clients(tree: Root, files: OpenFiles | None = None) -> list[GpuClient]:
    """Return [{pid, process, unit, devices}], by pid; needs root to see every process.

    Nothing is looked at where the driver is not loaded: as long as one of its devices is open,
    it cannot go.

    :param files: what processes have open; looked at anew where it is None.
    """
    if "nvidia" not in kernels.loaded_modules(tree):
        return []
    return who_opened(tree, lambda path: path.startswith(_DEVICES), files)


def who_opened(
    tree: Root, is_asked: Callable[[str], bool], files: OpenFiles | None = None
) -> list[GpuClient]:
    """Return rows as of :func:`clients` of those who have some devices open.

    :param is_asked: says of a path below /dev whether it is asked about.
    :param files: as above.
    """
    opened: dict[int, list[str]] = {}
    for path, pids in (files or OpenFiles(tree.path("/proc"))).devices().items():
        for pid in pids if is_asked(path) else ():
            opened.setdefault(pid, []).append(path)
    return [
        {
            "pid": pid,
            "process": processes.named(tree.text(f"/proc/{pid}/comm")),
            "unit": listening.unit_of(tree.text(f"/proc/{pid}/cgroup")),
            "devices": sorted(opened[pid]),
        }
        for pid in sorted(opened)
    ]


def at_work(rows: Iterable[GpuClient]) -> list[GpuClient]:
    """Return those rows of :func:`clients` that stand for work which could be interrupted."""
    return [row for row in rows if row["process"] not in _WITHOUT_WORK]


def described(row: GpuClient) -> str:
    """Return a row of :func:`clients` in words."""
    return f"{listening.owner(row)} has {', '.join(row['devices'])} open"
