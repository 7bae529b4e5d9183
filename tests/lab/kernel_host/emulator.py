"""The emulator: a tree of Debian with QEMU, firmware and what makes disks.

What QEMU the machine has does not matter: that of Debian 12 has no card with SR-IOV, and one and
the same everywhere is one thing less that differs.
"""

from __future__ import annotations

from lab import base
from lab.command import run

RELEASE = "trixie"
#: Where a command there sees the folder that it is to work in, and this machine's own root.
FOLDER, MACHINE = "/lab", "/mnt"
_PACKAGES = (
    *("qemu-system-x86", "ovmf"),
    *("fdisk", "dosfstools", "mtools", "e2fsprogs"),
)
_HOOKS = (f'mkdir "$1{FOLDER}"',)
# In a mount namespace of its own.
_ENTER = f"""
set -e
tree=$1 folder=$2
shift 2
mount --rbind / "$tree{MACHINE}"
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount --rbind "$folder" "$tree{FOLDER}"
exec chroot "$tree" "$@"
"""


def ensure(say):
    """Build the tree unless it is there; see :func:`lab.base.ensure`."""
    return base.built(_tree(), _command(), "the tree that QEMU runs from, a minute or two", say)


def command(folder, argv):
    """Return a command that works in the tree and sees ``folder`` as :data:`FOLDER`.

    It becomes the command that it names: its process is that one.
    """
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh"]
    return [*enter, _tree(), folder, *argv]


def work(folder, argv, timeout_s):
    """Run a command in the tree, see :func:`command`; return its CompletedProcess.

    :raises LabError: as :func:`lab.command.run`.
    """
    whole = ["unshare", "--pid", "--fork", "--kill-child", "--", *command(folder, argv)]
    # Nothing of it goes on when this process has ended, however that ends.
    return run(["setpriv", "--pdeathsig", "KILL", *whole], timeout_s)


def _command():
    return base.mmdebstrap(RELEASE, _PACKAGES, _HOOKS)


def _tree():
    return base.BASES / f"emulator-{base.digest_of(_command(), [])}"
