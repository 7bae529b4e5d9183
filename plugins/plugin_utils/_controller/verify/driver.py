# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of the NVIDIA driver: what is on disk, what is loaded, what keeps it there."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import pins

from . import looks
from .check import CRITICAL, ERROR, WARNING, Check, Found, Host

_COMPONENT = "nvidia_driver"
_IN_STACK = looks.is_in_stack(_COMPONENT)
# apt's preferences of ours, and the list of dnf's versionlock.
PINS = ("/etc/apt/preferences.d/gpunode-*", pins.VERSIONLOCK)
_OF_OTHERS = {*looks.OF_UNITS, "package", "receipt"}
_FILES = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind not in _OF_OTHERS)


def _fabric_manager(host: Host) -> Iterator[Found]:
    """Yield what keeps Fabric Manager from serving; one that only ended is started alone."""
    manager = host.facts["fabric_manager"]
    is_there = manager["version"] and manager["enabled"]
    remedy, action = (
        ("Run systemctl start nvidia-fabricmanager.service; its journal says why it ended",
         "restart_service")
        if is_there
        else ("", "")
    )  # fmt: skip
    for says in host.due[_COMPONENT].get("no-fabric-manager", []):
        yield Found(says, remedy, action)


def _rule(
    name: str,
    wanted: str,
    *rules: str,
    severity: str = ERROR,
) -> Check:
    """Return a check of what the plan finds due of the driver."""
    return Check(
        f"driver.{name}",
        wanted,
        severity,
        "converge",
        "Run {site}; {plan} says what that interrupts",
        (looks.Rule(_COMPONENT, rules),),
        _IN_STACK,
    )


CHECKS = (
    looks.brought("driver", _COMPONENT, "The NVIDIA driver"),
    _rule(
        "version",
        "The driver that is wanted is installed, in its version or of its branch.",
        *("not-installed", "other-version"),
        severity=CRITICAL,
    ),
    _rule(
        "modules",
        "Each kernel that the host runs or will run has the driver's modules, of the wanted kind.",
        *("kernel-without-module", "other-module-type"),
    ),
    _rule(
        "method",
        "The driver came by the wanted method, and by no other.",
        *("other-method", "mixed-methods"),
    ),
    _rule(
        "libraries",
        "The driver's libraries and modules are of one version.",
        "libraries-mismatch",
        severity=CRITICAL,
    ),
    _rule(
        "alone",
        "No other driver of the kernel's own has the GPUs, or would have them after a reboot.",
        "in-kernel-driver",
    ),
    _rule(
        "with_rdma",
        "nvidia_peermem was built with the RDMA stack that is there.",
        "rebuild-after-ofed",
    ),
    Check(
        "driver.loaded",
        "The driver's module is loaded, as it is on disk.",
        CRITICAL,
        "converge",
        "Run {site}, which loads it where nothing is in the way; journalctl --dmesg says what is",
        (looks.Rule(_COMPONENT, ("not-loaded", "other-loaded"), looks.without_kernel),),
        _IN_STACK,
        looks.ON_ITS_KERNEL,
    ),
    Check(
        "driver.answers",
        "nvidia-smi answers.",
        CRITICAL,
        "reboot",
        "Run nvidia-smi on the host, and read journalctl --dmesg. Without a reason, reboot it",
        (looks.Notice(("no-answer",), looks.without_kernel),),
        looks.has_driver,
        looks.ON_ITS_KERNEL,
    ),
    Check(
        "driver.signature",
        "The kernel takes the modules as they are signed.",
        ERROR,
        "none",
        "Enroll the key at the console, see {driver_page}",
        (looks.Notice(("module-rejected", "key-not-enrolled"), looks.without_kernel),),
        looks.has_driver,
        looks.ON_ITS_KERNEL,
    ),
    Check(
        "driver.fabric_manager",
        "Where there are NVSwitches, Fabric Manager runs in the driver's version, and at boot.",
        CRITICAL,
        "converge",
        "Run {site}",
        (
            looks.Seen(_fabric_manager),
            looks.Rule(_COMPONENT, ("fabric-manager-mismatch",)),
        ),
        _IN_STACK,
    ),
    *looks.units("driver", _COMPONENT, "the driver"),
    looks.drifted(
        "driver.packages",
        _COMPONENT,
        "The driver's packages are those that were installed, in their versions.",
        "package",
        remedy="Run {site}",
    ),
    looks.drifted(
        "driver.pins",
        _COMPONENT,
        "What holds the driver's packages at their versions is as it was left.",
        *_FILES,
        paths=PINS,
    ),
    looks.drifted(
        "driver.files",
        _COMPONENT,
        "The driver's modules and files are as they were left.",
        *_FILES,
        but=PINS,
    ),
    Check(
        "driver.security_update",
        "No security update of the driver is held back.",
        WARNING,
        "none",
        "Take the next branch, or install the update by hand; the next run holds what it finds, "
        "see {driver_page}",
        (looks.Notice(("held-security-update",)),),
        looks.has_driver,
    ),
    Check(
        "driver.supported",
        "NVIDIA supports the branch of the driver.",
        WARNING,
        "none",
        "Choose a later stack or branch",
        (looks.Notice(("end-of-life",)),),
        looks.has_driver,
        source="NVIDIA, Data Center Drivers, lifecycle of branches",
    ),
)
