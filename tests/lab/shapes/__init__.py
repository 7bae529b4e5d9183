"""Lab nodes by kind: nodes of Debian that have what hosts of another distribution have.

A shape is data, each with its source, and what makes a fresh node so: what the host says of
itself, its kernels, and the settings of its package manager, which is the real one. What is
installed on it comes from stand-in packages, see tests/standins/packages.
"""

from __future__ import annotations

from lab.images import Image
from lab.shapes import el, ubuntu

#: {name: Shape}.
SHAPES = {**ubuntu.SHAPES, **el.SHAPES}


def fresh(lab, node, name):
    """Make a node new in a shape; return the release of its kernel.

    :param name: one of SHAPES.
    """
    shape = SHAPES[name]
    lab.fresh(node, Image(shape.key, shape.prepare))
    # The lab gives every node that it starts the sources of its Debian.
    shape.finish(lab, node)
    return shape.kernel
