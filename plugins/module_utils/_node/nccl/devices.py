# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The devices that a rank works with, GPUs and those of RDMA, for a user without rights."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import subprocess

from ..system.commands import Run

# Those of the GPUs, of RDMA, and of GDRCopy, by which NCCL may copy.
_FILES = ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/infiniband/*", "/dev/gdrdrv")
# systemd.resource-control(5). The groups are those of /proc/devices; rdma_cm has none (Linux,
# drivers/infiniband/core: uverbs_main.c, user_mad.c, ucma.c).
_ALLOWED = ("char-nvidia*", "char-infiniband*", "/dev/infiniband/rdma_cm", "char-gdrdrv")
# RDMA pins the memory that it moves.
_SETTINGS = (
    "LimitMEMLOCK=infinity",
    "DevicePolicy=closed",
    *(f"DeviceAllow={device} rw" for device in _ALLOWED),
)
# nvidia-modprobe(1): CUDA leaves it to a program whose set-user-ID bit has no effect on a user who
# may gain no privileges.
_MAKERS = (("/usr/bin/nvidia-smi", "-L"), ("/usr/bin/nvidia-modprobe", "-c0", "-u"))
_PATIENCE_S = 60


def make(run: Run) -> None:
    """Make the device files of GPUs and of unified memory, where nothing has yet.

    :param run: what runs programs; that a host has them not, or no GPU, is for the rank to say.
    """
    for argv in _MAKERS:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            run(list(argv), capture_output=True, timeout=_PATIENCE_S)


def settings() -> list[str]:
    """Return the settings of a unit that works with these devices and no others.

    It is in the groups that they are for: a host may keep them from all others
    (NVreg_DeviceFileGID in the README of the driver, GROUP= of udev).
    """
    groups = set()
    for path in (found for pattern in _FILES for found in glob.glob(pattern)):
        status = os.stat(path)
        needs_group = status.st_mode & 0o060 == 0o060 and not status.st_mode & stat.S_IWOTH
        if needs_group and status.st_gid:
            groups.add(status.st_gid)
    return [*_SETTINGS, *(f"SupplementaryGroups={gid}" for gid in sorted(groups))]
