"""What the operator of the lab can do."""

from __future__ import annotations

from lab import channel, inventory, proxy, textfile

_SOURCES = {
    "public": "conda packages come from the public channel",
    "local": "conda packages come from a local channel: the public one cannot be reached",
}


def up(lab, count=None, fresh=False):
    """Bring the lab up with all that belongs to it: nodes, conda channel, inventory.

    :returns: a sentence that says where the nodes' conda packages come from.
    """
    lab.up(count, fresh)
    offered = channel.ensure(lab.paths, lab.network.address)
    inventory.write(lab, offered)
    return _SOURCES[offered["lab_channel"]]


def down(lab):
    """Leave nothing of the lab running."""
    proxy.stop(lab.paths.state)
    channel.stop(lab.paths)
    lab.down()


def borrow(lab, path, borrower):
    """Add a fresh node to the lab, which may be off, and write an inventory of it alone.

    Its variables are those of any node and ``lab_proxy``, the URL of a proxy that runs for it.

    :param path: the inventory's file.
    :param borrower: the id of the process that it is for.
    """
    guest = lab.lend(borrower)
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
    """Return one line per node: name, release, address, on or off."""
    return [
        f"{node.name:8} Debian {node.release:10} {node.address:15} "
        f"{'on' if node.is_running() else 'off'}"
        for node in lab.nodes
    ]
