# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages may stay beside a driver that a .run installed: by this, plan and node go alike.

The others have files that the .run has as well, or a driver of their own.
"""

from __future__ import annotations

import re

from . import fabric_manager

_MAY_STAY = re.compile(
    # The driver's programs by themselves, which work with drivers of other versions: Debian's
    # contrib and Ubuntu have them apart from the driver.
    r"nvidia-(?:persistenced|modprobe|settings|xconfig)(?:-.+)?"
    # Preferences for apt alone, named after a branch or a version (NVIDIA Driver Installation
    # Guide, "Version locking").
    r"|nvidia-driver-pinning-.+"
    # What comes of nvidia-settings, which no .run brings, by NVIDIA's packages for dnf.
    r"|nvidia-libXNVCtrl(?:-.+)?"
    # What looks at the hardware, and what Debian has for whichever driver comes.
    r"|nvidia-detect|nvidia-(?:.+-)?legacy-check|nvidia-installer-cleanup|nvidia-support"
    r"|nvidia-kernel-common|glx-alternative-nvidia"
    # What else there is for a fabric, which no .run brings.
    r"|libnvsdm(?:-.+)?|nvlsm|nvidia-imex(?:-[0-9]+)?"
    # Firmware lies in a folder of its version, where a .run of that version has the same.
    r"|firmware-nvidia-(?:.+-)?gsp(?:-.+)?|nvidia-firmware(?:-.+)?"
)


def may_stay(name: str) -> bool:
    """Say whether a package is no second driver beside a .run."""
    return fabric_manager.is_package(name) or bool(_MAY_STAY.fullmatch(name))
