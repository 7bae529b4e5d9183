# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The initramfs of a kernel: what is in it is loaded before anything of the root file system."""

from __future__ import annotations

from ..refusal import Refusal
from ..system import commands
from ..system.commands import Execute
from ..system.root import Root

# As initramfs-tools and dracut call their images.
_IMAGES = ("/boot/initrd.img-{}", "/boot/initramfs-{}.img")
# By the program that makes the image of one kernel anew.
_MAKERS = {
    "update-initramfs": ["update-initramfs", "-u", "-k"],
    "dracut": ["dracut", "--force", "--kver"],
}


def is_there(tree: Root, release: str) -> bool:
    """Say whether a kernel has an initramfs."""
    return any(tree.exists(path.format(release)) for path in _IMAGES)


def rebuild(tree: Root, release: str, execute: Execute) -> None:
    """Make the initramfs of one kernel anew.

    :raises Refusal: nothing on the host does that, or it failed.
    """
    what = f"initramfs of kernel {release}"
    maker = next((argv for program, argv in _MAKERS.items() if tree.has_program(program)), None)
    if maker is None:
        raise Refusal(
            what,
            "it holds a module that gives way, and neither update-initramfs nor dracut is there to "
            "make it anew",
            "Take it out of the image by the means of this host",
        )
    result = commands.run_long(what, [*maker, release], {"LC_ALL": "C.UTF-8"}, execute, "/boot")
    if result.returncode:
        words = commands.last_words(result, result.stderr or result.stdout)
        raise Refusal(what, f"it cannot be made anew: {words}", "Mend that and run again")
