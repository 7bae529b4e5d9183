# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLNX_OFED's bundle: what is in it, and whether it is for this host.

Its files are those that mlnxofedinstall reads itself, in the bundles for Debian's family and for
Enterprise Linux alike.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..refusal import Refusal
from ..system import commands, confinement, disk, files, folders, safe_paths
from ..system.commands import Execute
from ..system.root import Root


class Bundle(NamedTuple):
    """An unpacked bundle.

    :ivar packages: their names.
    :ivar kernels: the releases that it has modules for.
    """

    folder: str
    version: str
    distribution: str
    machine: str
    packages: list[str]
    kernels: list[str]


#: How the folders begin in which bundles are unpacked; a version follows.
UNPACKED = "gpunode-mlnx_ofed-"
# MLNX_OFED 24.10 release notes, "Hardware and Software Requirements": disk space for installation.
_INSTALLED = 1 << 30
# With --add-kernel-support a bundle is made of it in the same folder, and unpacked again.
_COPIES = 3
_RPM = re.compile(r"(.+)-[^-]+-[^-]+\.rpm")


def discard_unpacked(tmpdir: str) -> None:
    """Remove what was unpacked of any bundle, by this run or by one that was killed.

    :param tmpdir: the folder in which they are unpacked.
    """
    for path in glob.glob(os.path.join(glob.escape(tmpdir), f"{UNPACKED}*")):
        # What cannot go now does when the same is unpacked again, or that says why not.
        with contextlib.suppress(OSError):
            folders.remove(path)


def refuse_without_room(archive: str, tmpdir: str, adds_kernel: bool) -> None:
    """Refuse where there is no room to unpack an archive and to install from it.

    :param archive: the path of the .tgz.
    :param tmpdir: the folder in which it is unpacked, and modules are built.
    :param adds_kernel: whether they are.
    :raises Refusal: there is none.
    """
    unpacked = _unpacked_size(archive) * (_COPIES if adds_kernel else 1)
    for path, needed in ((tmpdir, unpacked), ("/usr", _INSTALLED)):
        status = os.statvfs(path)
        free = status.f_bavail * status.f_frsize
        if free < needed:
            raise Refusal(
                f"room for MLNX_OFED in {path}",
                f"{free / disk.GIB:.1f} GiB are free, and {needed / disk.GIB:.1f} GiB are needed",
                "Free room there"
                + (", or name another folder by mlnx_ofed_tmpdir" if path == tmpdir else ""),
            )


def unpack(archive: str, folder: str, execute: Execute) -> Bundle:
    """Unpack an archive into a folder, which is new then, and return the Bundle.

    :raises Refusal: it cannot be unpacked, is no bundle, or others than root could change it.
    """
    what = "unpack the bundle of MLNX_OFED"
    # Its installer is run from there. In a folder that is open to all the new one is root's.
    safe_paths.refuse_unsafe(what, os.path.dirname(folder), "mlnx_ofed_tmpdir")
    with disk.watched(what, folder):
        # Of a run that was killed.
        if os.path.isdir(folder):
            folders.remove(folder)
        os.makedirs(folder, mode=0o755)
    argv = ["tar", "--extract", "--gzip", "--no-same-owner", "--strip-components=1"]
    argv = confinement.confined([*argv, "--directory", folder, "--file", archive], [])
    done = commands.run_long(what, argv, {}, execute, folder)
    if done.returncode:
        words = commands.last_words(done, done.stderr)
        raise Refusal(what, words, "Name another file in gpunode_ofed_file")
    return read(folder)


def read(folder: str) -> Bundle:
    """Return the Bundle that lies unpacked in a folder.

    :raises Refusal: there is none.
    """
    tree = Root(folder)
    version = tree.text("/.mlnx") or tree.text("/mlnx")
    distribution = tree.text("/distro")
    if not version or not distribution or not tree.exists("/mlnxofedinstall"):
        raise Refusal(
            "the bundle of MLNX_OFED",
            "it has no mlnxofedinstall, or does not say its version and distribution",
            "Name a MLNX_OFED_LINUX-….tgz in gpunode_ofed_file",
        )
    return Bundle(
        folder,
        version,
        distribution.lower(),
        tree.text("/.arch") or tree.text("/arch"),
        sorted(_packages(folder)),
        tree.text("/.supported_kernels").split(),
    )


def refuse_misfits(bundle: Bundle, version: str, host: str, machine: str) -> None:
    """Refuse a bundle that is not the wanted one, or not for this host.

    :param version: the wanted one.
    :param host: the distribution as distribution.mellanox_name has it.
    :param machine: as `uname -m` has it.
    :raises Refusal: it is another one.
    """
    for is_so, because in (
        (bundle.version == version, f"it is {bundle.version}, and {version} is wanted"),
        (
            bundle.machine in ("", machine),
            f"it is for {bundle.machine}, and the host is {machine}",
        ),
        (
            _major(bundle.distribution) == _major(host),
            f"it is for {bundle.distribution}, and the host is {host}",
        ),
    ):
        if not is_so:
            raise Refusal(
                f"the bundle of MLNX_OFED {version}", because, "Name another in gpunode_ofed_file"
            )


def _unpacked_size(archive: str) -> int:
    """Return how much a .gz holds, in bytes: its last four, RFC 1952, 2.3.1."""
    with files.opened(archive) as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - 4))
        told = struct.unpack("<I", handle.read(4).rjust(4, b"\0"))[0]
    # Of four GiB and more they tell the rest alone; packages in it are compressed already.
    return max(told, size)


def _packages(folder: str) -> Iterator[str]:
    """Yield the names of the packages that lie anywhere below a folder."""
    for _top, _folders, names in os.walk(folder):
        for name in names:
            rpm = _RPM.fullmatch(name)
            if name.endswith(".deb"):
                yield name.partition("_")[0]
            elif rpm:
                yield rpm.group(1)


def _major(distribution: str) -> str:
    """Return a distribution with what tells its releases apart: point releases are alike.

    Ubuntu's are no point releases: 22.04 and 22.10.
    """
    if distribution.startswith("ubuntu"):
        return distribution
    return distribution.partition(".")[0]
