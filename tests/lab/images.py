"""Images: what was done to a fresh node once, so that further nodes begin with it.

An image is the folder of what a node wrote over its base tree. It is named after the base tree,
what was done, and the day, since archives of packages change, and never changed. All labs of the
machine share it, unless it holds what is of its lab alone. Images of other days go once no node
lies over them; so do those of a node of one lab that another one takes the place of.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import base, lock, mounts, textfile
from lab.paths import IMAGES

#: What every node has of its own, and makes when it boots.
_OWN = ("var/log/journal", "var/lib/systemd/random-seed")


@dataclass(frozen=True)
class Image:
    """What is done to a node that is fresh.

    :ivar key: a text that changes with what is done.
    :ivar prepare: does it; takes (lab, name of the node).
    :ivar is_own: whether the image is for that node of that lab alone.
    :ivar release: that of Debian which the node lies on; that of its number where it is empty.
    :ivar shape: the name of what a node that begins with it is shaped as, see lab.shapes; it is
        given no sources of its Debian then. "" where it stays Debian.
    """

    key: str
    prepare: Callable
    is_own: bool = False
    release: str = ""
    shape: str = ""


def ensure(lab, name, image):
    """Return the folder of an image for a node, made on that node where it is not there yet.

    :param lab: a Lab that is up.
    :param name: of the node, which is made new where the image is made.
    :raises LabError: another process was making it all the time that lock.held waits.
    """
    node = lab.node(name)
    top = lab.paths.images(name) if image.is_own else IMAGES
    tree = base.tree(image.release or node.own_release)
    folder = top / _name(tree.name, image.key)
    if folder.is_dir():
        return folder
    with lock.held(top / f"{folder.stem}.lock"):
        if not folder.is_dir():
            _remove_unused(top, "" if image.is_own else _today())
            lab.bare(name, image.release)
            image.prepare(lab, name)
            lab.stop(name)
            mounts.release(node.tree)
            _take(node.written, folder)
    return folder


def _name(tree, key):
    digest = hashlib.sha256(f"{tree}\n{key}".encode()).hexdigest()[:12]
    return f"{digest}.{_today()}"


def _today():
    return datetime.date.today().isoformat()


def _take(written, folder):
    """Make what a node wrote the image, whole or not at all; the node is to be made new."""
    for path in _OWN:
        mounts.remove_tree(written / path)
    # An empty one: systemd takes it for no first boot, and makes an id of the node's own.
    textfile.put(written / "etc/machine-id", "")
    written.rename(folder)


def _remove_unused(top, kept):
    """Remove the images that no mounted node lies over.

    :param kept: the day whose images stay.
    """
    mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    for folder in top.glob("*.*-*-*"):
        if folder.suffix != f".{kept}" and str(folder) not in mounted:
            mounts.remove_tree(folder)
