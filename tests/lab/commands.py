"""What the operator of the lab can do."""

from __future__ import annotations

from lab import channel, inventory

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
    channel.stop(lab.paths)
    lab.down()


def status(lab):
    """Return one line per node: name, release, address, on or off."""
    return [
        f"{node.name:8} Debian {node.release:10} {node.address:15} "
        f"{'on' if node.is_running() else 'off'}"
        for node in lab.nodes
    ]
