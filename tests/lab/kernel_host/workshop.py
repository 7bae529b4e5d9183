"""The workshop: a tree with the headers of a kernel host's kernel, and a compiler.

Modules are built there, on the machine, in seconds; on the host that would take minutes.
"""

from __future__ import annotations

import shutil

from lab import base
from lab.command import run
from lab.kernel_host import guest

_BUILD_TIMEOUT_S = 120
_ENTER = """
set -e
mount --bind "$2" "$1/mnt"
mount -t tmpfs tmpfs "$1/tmp"
exec chroot "$1" make --silent -C "/lib/modules/$3/build" M=/mnt modules
"""


def ensure(release, say):
    """Build the workshop for a kernel unless it is there; see :func:`lab.base.ensure`."""
    packages = (f"linux-headers-{release}", "gcc", "make")
    command = base.mmdebstrap(guest.RELEASE, packages, (), guest.options())
    place = base.BASES / f"workshop-{base.digest_of(command, [])}"
    return base.built(place, command, f"the workshop for kernel {release}, two minutes", say)


def build(tree, source, folder):
    """Build a module for the workshop's kernel; return the file of it.

    :param tree: the workshop.
    :param source: the folder with the module's Makefile and source.
    :param folder: a new folder, which all that is built is put into.
    :raises LabError: it does not compile.
    """
    shutil.copytree(source, folder)
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh"]
    run([*enter, tree, folder, guest.kernel(tree)], _BUILD_TIMEOUT_S)
    (built,) = folder.glob("*.ko")
    return built
