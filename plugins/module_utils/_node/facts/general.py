# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""General facts of a host, under the names Ansible's own facts use."""

from __future__ import annotations

import os
import re
import sys

from ..facts_shape import Identity, Mount
from ..system import files, shares
from ..system.root import Root
from . import identity

# Beside those of shares.
_FILESYSTEMS = (
    "btrfs",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "overlay",
    "tmpfs",
    "xfs",
    "zfs",
)
# Of cgroup v2; where the host is no container, it has neither (cgroup-v2.rst, cpu.max, memory.max).
_CPU_QUOTA, _MEMORY_LIMIT = "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/memory.max"


def general(tree: Root) -> Identity:
    """Return who the host is, under the names Ansible's own facts use."""
    distribution = identity.distribution(tree)
    kernel = os.uname()
    return {
        **distribution,
        "hostname": kernel.nodename.split(".")[0],
        "kernel": kernel.release,
        "architecture": kernel.machine,
        "python_version": sys.version.split()[0],
        "pkg_mgr": identity.package_manager(tree, distribution["os_family"]),
        "service_mgr": identity.service_manager(tree),
    }


def own_kernel(proc: str = "/proc") -> bool:
    """Say whether the host runs a kernel of its own: false in containers, chroots and image builds.

    A container's init carries ``container=`` in its environment (systemd's
    container interface); in a chroot the root is not init's root.
    """
    try:
        with open(os.path.join(proc, "1", "environ"), "rb") as handle:
            variables = handle.read(files.TEXT_LIMIT).split(b"\0")
        if any(variable.startswith(b"container=") for variable in variables):
            return False
        mine, inits = (
            os.stat(os.path.join(proc, "self", "root")),
            os.stat(os.path.join(proc, "1", "root")),
        )
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (inits.st_dev, inits.st_ino)


def virtualization(tree: Root) -> str:
    """Return the hypervisor by the name systemd-detect-virt has for it, '' on bare metal.

    Containers do not count: :func:`own_kernel` tells those.
    """
    # On bare metal it prints "none" and fails.
    return tree.answer("systemd-detect-virt", "--vm").strip()


def processors(tree: Root) -> int:
    """Return how many processors services may use, 0 where the host does not tell.

    Those that systemd itself may run on, whose services inherit that, and of a container no more
    than its quota.
    """
    allowed = _field(tree, "/proc/1/status", "Cpus_allowed_list")
    spans = [re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", span) for span in allowed.split(",")]
    count = sum(int(span[2] or span[1]) - int(span[1]) + 1 for span in spans if span)
    quota, _blank, period = tree.text(_CPU_QUOTA).partition(" ")
    if _is_amount(quota) and _is_amount(period):
        return min(count, max(int(quota) // int(period), 1))
    return count


def memory_mib(tree: Root) -> int:
    """Return how much memory services may take, in MiB; 0 where the host does not tell."""
    total = _field(tree, "/proc/meminfo", "MemTotal").partition(" ")[0]
    if not _is_amount(total):
        return 0
    limit = tree.text(_MEMORY_LIMIT)
    mib = int(total) >> 10
    return min(mib, int(limit) >> 20) if _is_amount(limit) else mib


def _field(tree: Root, path: str, name: str) -> str:
    """Return what a file of lines such as ``name: value`` says of a name, '' for nothing."""
    fields = (line.partition(":") for line in tree.lines(path))
    return next((value.strip() for key, _colon, value in fields if key == name), "")


def _is_amount(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,18}", text) is not None


def mounts(proc: str = "/proc") -> list[Mount]:
    """Return [{mount, fstype, size_total, size_available}], in bytes, of what holds files.

    Of several at one mount point the last one, which is the one that is seen. A share that does not
    answer is left out, and so is what is reached through one that does not.
    """
    rows = shares.mounted(proc)
    served = shares.points(rows)
    kinds = {
        mount: kind
        for mount, kind in dict(rows).items()
        if kind in _FILESYSTEMS or shares.is_one(kind)
    }
    distant = [mount for mount in kinds if shares.lies_on(mount, served)]
    rooms = shares.rooms(distant)
    rooms |= {mount: shares.room(mount) for mount in set(kinds).difference(distant)}
    return [
        {
            "mount": mount,
            "fstype": kind,
            "size_total": room.total,
            "size_available": room.available,
        }
        for mount, kind in kinds.items()
        if (room := rooms.get(mount))
    ]
