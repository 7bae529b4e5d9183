"""What the operator of the lab can do."""

from __future__ import annotations

import itertools

from lab import channel, inventory, proxy, shapes, textfile
from lab.errors import LabError

_SOURCES = {
    "public": "conda packages come from the public channel",
    "local": "conda packages come from a local channel: the public one cannot be reached",
}


def up(lab, count=None, fresh=False, names=None, kernel_hosts=None, boot_loader=""):
    """Bring the lab up with all that belongs to it: nodes, conda channel, inventory.

    :param names: what the first nodes are to be, shapes.DEBIAN or one of shapes.SHAPES each, and
        all others Debian; as they are by default. A node that is something else is made new.
    :param kernel_hosts: how many of these are to run as well, see lab.kernel_host; as many as do
        by default.
    :param boot_loader: what they boot by, see :meth:`lab.node.Lab.up_kernel_hosts`.
    :returns: a sentence that says where the nodes' conda packages come from.
    :raises LabError: as lab.up; a name is not known; there are more names than nodes.
    """
    wanted = [node.shape for node in lab.nodes] if names is None else [*map(shapes.name, names)]
    if names and count is not None and count < len(wanted):
        raise LabError(f"{len(wanted)} nodes are to be {', '.join(names)}, and {count} are asked")
    if names and count is None:
        count = max(len(wanted), len(lab.nodes))
    lab.up(count, fresh)
    for node, name in itertools.zip_longest(lab.nodes, wanted[: len(lab.nodes)], fillvalue=""):
        if node.shape != name:
            shapes.fresh(lab, node.name, name)
    if kernel_hosts is not None:
        lab.up_kernel_hosts(kernel_hosts, boot_loader, fresh)
    offered = channel.ensure(lab.paths, lab.network.address)
    inventory.write(lab, offered)
    return _SOURCES[offered["lab_channel"]]


def down(lab):
    """Leave nothing of the lab running."""
    proxy.stop(lab.paths.state)
    channel.stop(lab.paths)
    lab.down()


def borrow(lab, path, borrower, shape=""):
    """Add a fresh node to the lab, which may be off, and write an inventory of it alone.

    Its variables are those of any node and ``lab_proxy``, the URL of a proxy that runs for it.

    :param path: the inventory's file.
    :param borrower: the id of the process that it is for.
    :param shape: what it is to be, see :func:`up`; Debian where it is empty.
    :raises LabError: as lab.lend; the name is not known.
    """
    name = shapes.name(shape or shapes.DEBIAN)
    guest = lab.lend(borrower)
    if name:
        shapes.fresh(lab, guest.name, name)
    offered = channel.ensure(lab.paths, lab.network.address)
    proxy.ensure(lab.network.address, lab.paths.state)
    variables = {**offered, "lab_proxy": proxy.url(lab.network.address)}
    textfile.put(path, inventory.render([guest], lab.paths, variables))


def give_back(lab, borrower):
    """Leave the lab as it was before :func:`borrow`, on or off."""
    lab.take_back(borrower)
    proxy.stop(lab.paths.state)
    if not any(node.is_running() for node in lab.nodes):
        down(lab)


def status(lab):
    """Return one line per node and kernel host: name, what it is, address, on or off."""
    kinds = [(node, _kind(node)) for node in lab.nodes]
    kinds += [(host, f"kernel of its own, by {host.boot_loader}") for host in lab.kernel_hosts]
    return [
        f"{one.name:8} {kind:30} {one.address:15} {'on' if one.is_running() else 'off'}"
        for one, kind in kinds
    ]


def _kind(node):
    base = f"Debian {node.release}"
    return f"{node.shape} on {base}" if node.shape else base
