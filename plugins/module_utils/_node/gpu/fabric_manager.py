# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""NVIDIA's Fabric Manager, without which GPUs behind NVSwitches compute nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..facts_shape import FabricManager, GpuHost, Package
from ..packages import versions
from ..system import systemd
from ..system.root import Root

UNIT = "nvidia-fabricmanager.service"
_PROGRAM = "nv-fabricmanager"
# Such as "Fabric Manager version is : 450.102.04".
_VERSION = re.compile(r"version is\s*:\s*([0-9][0-9.]*)")
# With a hyphen in NVIDIA's repositories of Enterprise Linux before 580.
_PACKAGE = re.compile(r"(?:nvidia|cuda-drivers)-fabric-?manager(?:-[0-9]+)?")
# What reads the NVSwitches for DCGM, and comes with it.
_COMPANION = re.compile(r"libnvidia-nscq(?:-[0-9]+)?")


def is_package(name: str) -> bool:
    """Say whether a package brings it, or goes with it: beside a .run, which has neither."""
    return brings(name) or bool(_COMPANION.fullmatch(name))


def brings(name: str) -> bool:
    """Say whether a package brings the program itself."""
    return bool(_PACKAGE.fullmatch(name))


def survey(tree: Root, packages: Sequence[Package], states: Mapping[str, str]) -> FabricManager:
    """Return {version, active, enabled}.

    :param packages: rows of stack_packages.survey, which tell the version where the program
        does not.
    :param states: what systemd says of UNIT, {property: value}; {} where it is not there.
    """
    return {
        "version": _version_of_program(tree) or _version_of_package(packages),
        "active": states.get("ActiveState") == "active",
        "enabled": systemd.starts_at_boot(states),
    }


def starts_anew(facts: GpuHost) -> bool:
    """Say whether it is to be started while a driver is loaded, whose work would not survive that.

    Whoever computes over NVLink is ended when the fabric is set up once more (NVIDIA Fabric Manager
    User Guide, "Fabric Manager Restart"; github.com/NVIDIA/nccl/issues/1488).

    :param facts: those of gpu_host.survey.
    """
    has_driver = bool(facts["driver"]["loaded"]["version"])
    return bool(facts["nvswitches"]) and has_driver and not facts["fabric_manager"]["active"]


def _version_of_program(tree: Root) -> str:
    if not tree.has_program(_PROGRAM):
        return ""
    match = _VERSION.search(tree.answer(_PROGRAM, "--version"))
    return match.group(1) if match else ""


def _version_of_package(packages: Sequence[Package]) -> str:
    found = [versions.upstream(row["version"]) for row in packages if brings(row["name"])]
    return next(filter(None, found), "")
