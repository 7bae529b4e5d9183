# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of GPUs, NVSwitches and the fabric between them, by what the vendor says of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..stack import health
from . import looks
from .check import CRITICAL, ERROR, WARNING, Check, Found, Host, Look

_XIDS = "docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"
_NVML = "NVML API Reference, nvmlDeviceGpuRecoveryAction_t"
_MEMORY = "docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt"


def _retiring(host: Host) -> Iterator[Found]:
    for gpu in host.facts["nvidia_smi"]["gpus"]:
        if gpu["retirement_pending"]:
            yield Found(f"{gpu['address']}: what is broken is retired at the next reset or reboot")


def _unfinished(host: Host) -> Iterator[Found]:
    return map(Found, health.unfinished_fabric(host.case))


def _unknown(host: Host) -> Iterator[Found]:
    return map(Found, health.unknown_xids(host.case))


def _unseen(host: Host) -> Iterator[Found]:
    """Yield that no GPU is there; that all are handed on to guests is as somebody wants it."""
    if host.facts["own_kernel"] and not host.facts["gpus"]:
        yield Found("no NVIDIA GPU is to be seen on the PCI bus")


def _check(
    name: str,
    wanted: str,
    *some: Look,
    severity: str = CRITICAL,
    action: str = "reset_gpu",
    remedy: str = "Let what computes on it end, and run nvidia-smi --gpu-reset, or reboot the host",
    source: str = "",
    applies: Callable[[Host], bool] = looks.has_driver,
) -> Check:
    return Check(
        f"gpu.{name}",
        wanted,
        severity,
        action,
        remedy,
        some,
        applies,
        looks.ON_ITS_KERNEL,
        source,
    )


def _of_log(kind: str) -> looks.Health:
    return looks.Health((kind,), looks.without_log)


def _of_answer(*kinds: str) -> looks.Health:
    return looks.Health(kinds, looks.without_answer)


CHECKS = (
    _check(
        "present",
        "A host that a driver is wanted of has an NVIDIA GPU.",
        looks.Seen(_unseen, looks.without_kernel),
        severity=ERROR,
        action="call_vendor",
        remedy="Run lspci -d 10de: on the host. Where it had one, have its seat and power looked "
        "at; where it never had, want no driver of it",
        applies=lambda host: host.case.wanted["driver"] is not None,
    ),
    _check(
        "bus",
        "No GPU has fallen off the bus since the host booted.",
        _of_log("bus"),
        action="reboot",
        remedy="Reboot the host, with its power off where that does not help",
        source=f"{_XIDS}, Xid 79",
    ),
    _check(
        "listed",
        "nvidia-smi lists each GPU that is on the PCI bus.",
        _of_answer("listed"),
        action="reboot",
        remedy="Reboot the host",
    ),
    _check(
        "xid",
        "The driver has logged no Xid since the host booted that asks for more than the "
        "application to be started anew.",
        _of_log("xid"),
        source=f"{_XIDS}, Resolution Bucket (Immediate Action)",
    ),
    _check(
        "xid_known",
        "What each Xid that was logged asks for is known.",
        looks.Seen(_unknown, looks.without_log),
        severity=WARNING,
        action="call_vendor",
        remedy=f"Look it up in {_XIDS}",
        source=_XIDS,
    ),
    _check(
        "start",
        "The driver could start each GPU.",
        _of_log("start"),
        action="call_vendor",
        remedy="Run nvidia-bug-report.sh on the host, and ask the vendor with what it writes",
        source="NVIDIA/open-gpu-kernel-modules, RmInitAdapter",
    ),
    _check(
        "values",
        "nvidia-smi has the values of each GPU.",
        _of_answer("values"),
    ),
    _check(
        "recovery",
        "No GPU waits for a reset, a reboot or the end of what computes on it.",
        _of_answer("recovery"),
        source=_NVML,
    ),
    _check(
        "memory",
        "No GPU had an error of its memory since the driver was loaded that was not corrected.",
        _of_answer("memory"),
        source=_MEMORY,
    ),
    _check(
        "rows",
        "Each GPU has rows left that replace broken ones of its memory.",
        _of_answer("rows"),
        action="replace",
        remedy="Have it replaced",
        source=f"{_MEMORY}, RMA policy thresholds for row-remapping",
    ),
    _check(
        "caches",
        "The caches of each GPU had no more errors than the vendor accepts.",
        _of_answer("caches"),
        action="replace",
        remedy="Have it replaced",
        source=f"{_MEMORY}, RMA policy thresholds for SRAM",
    ),
    _check(
        "retirement",
        "No GPU waits for a reset to retire broken memory.",
        looks.Seen(_retiring, looks.without_answer),
        severity=WARNING,
        source=_MEMORY,
    ),
    _check(
        "fabric",
        "The fabric between the GPUs is completed and healthy.",
        _of_answer("fabric"),
        looks.Seen(_unfinished, looks.without_answer),
        source="NVIDIA Fabric Manager User Guide",
    ),
    _check(
        "switches",
        "No NVSwitch has logged an error since the host booted.",
        _of_log("switch"),
        action="reboot",
        remedy="Ask the vendor, with what was logged",
        source="NVIDIA Fabric Manager User Guide, SXid errors",
    ),
)
