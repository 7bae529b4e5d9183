"""The disk of a kernel host: one file, made from a tree without any loop device."""

from __future__ import annotations

from lab import base
from lab.kernel_host import emulator, guest

#: Names in the folder of a host.
IMAGE = "disk.img"
TREE = "root"
_SIZE_MIB, _ESP_MIB, _START_MIB = 8192, 256, 1
_ROOT_MIB = _START_MIB + _ESP_MIB
_MAKE_TIMEOUT_S = 300
# GPT keeps a copy of itself at the disk's end. mkfs.vfat would choose the size of clusters by that
# of the whole file, and leave fewer of them than firmware takes for FAT32.
_MAKE = f"""
set -e
cd {emulator.FOLDER}
rm -f {IMAGE}
truncate -s {_SIZE_MIB}M {IMAGE}
sfdisk --quiet {IMAGE} <<'END'
label: gpt
start={_START_MIB}MiB, size={_ESP_MIB}MiB, type=uefi
start={_ROOT_MIB}MiB, type=linux
END
mkfs.vfat -F 32 -s 1 -i {guest.ESP_SERIAL.replace("-", "")} --offset {_START_MIB * 2048} {IMAGE} \
    {_ESP_MIB * 1024} >&2
mcopy -s -i {IMAGE}@@{_START_MIB}M {TREE}/{guest.ESP}/* ::/
rm -r {TREE}/{guest.ESP}/*
mke2fs -q -F -t ext4 -m 0 -U {guest.ROOT_UUID} -E offset={_ROOT_MIB * 1024 * 1024} -d {TREE} \
    {IMAGE} {_SIZE_MIB - _ROOT_MIB - 1}M
"""


def digest():
    """Return the name of how disks are made."""
    return base.digest_of([_MAKE], [])


def make(folder):
    """Make the disk of what lies in ``folder``/root; its EFI system partition is moved there.

    :raises LabError: it cannot be made.
    """
    emulator.work(folder, ["sh", "-c", _MAKE], _MAKE_TIMEOUT_S)
