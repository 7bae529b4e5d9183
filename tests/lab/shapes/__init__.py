"""Lab nodes by kind: nodes of Debian that have what hosts of another distribution have.

A shape is data, each with its source, and what makes a fresh node so: what the host says of
itself, its kernels, the settings of its package manager, which is the real one, and of Enterprise
Linux the packages that its distribution has. Packages of vendors come with what a test installs.
"""

from __future__ import annotations

from lab.errors import LabError
from lab.images import Image
from lab.shapes import el, ubuntu

#: {name: Shape}.
SHAPES = {**ubuntu.SHAPES, **el.SHAPES}
#: What a node is called that has none.
DEBIAN = "debian"


def name(said):
    """Return the name of a shape as nodes have it: "" for Debian.

    :raises LabError: there is no such shape.
    """
    if said == DEBIAN:
        return ""
    if said not in SHAPES:
        raise LabError(f"no node is shaped as {said!r}: {', '.join((DEBIAN, *SHAPES))} are known")
    return said


def fresh(lab, node, shape):
    """Make a node new in a shape, whatever Debian it lay on; return the release of its kernel.

    :param shape: one of SHAPES; "" for Debian, of which no kernel is told.
    """
    if not shape:
        lab.fresh(node)
        return ""
    made = SHAPES[shape]
    lab.fresh(node, Image(made.key, made.prepare, release=made.base, shape=shape))
    return made.kernel
