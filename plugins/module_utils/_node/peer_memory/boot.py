# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which peer memory module is loaded at boot: one at most, whoever asked for the other one.

nv_peer_memory brings no unit, and its init script does nothing under systemd
(Mellanox/nv_peer_memory issue 46); nothing loads nvidia_peermem.
"""

from __future__ import annotations

import os

from ..rdma import peer_route, rdma_stack
from ..system import text_files

LOAD = "/etc/modules-load.d/gpunode-peer-memory.conf"
PARAMETERS = "/etc/modprobe.d/gpunode-peer-memory.conf"
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
_FOLDER = os.path.dirname(LOAD)


def wanted_files(tree, route, is_legacy):
    """Return {path: text_files.TextFile} of what is to be there for a route.

    :param tree: the host.
    :param is_legacy: whether the RDMA stack is one of 4.x, for which nvidia_peermem has to be told
        so (NVIDIA driver README, "GPUDirect RDMA Peer Memory Client").
    """
    found = {}
    for path in rdma_stack.files_at_boot(tree):
        if path != LOAD and any(_is_other(line, route) for line in tree.lines(path)):
            found.update([_without(tree, path, route)])
    is_module = route in peer_route.MODULES
    found[LOAD] = text_files.of(f"{_MARK}{route}\n" if is_module else None)
    needs_told = route == "nvidia_peermem" and is_legacy
    options = f"{_MARK}options nvidia_peermem peerdirect_support=1\n" if needs_told else None
    found[PARAMETERS] = text_files.of(options)
    return found


def _is_other(line, route):
    """Say whether a line has a peer memory module loaded that is not the route's."""
    name = line.split()[0].replace("-", "_")
    return name in peer_route.MODULES and name != route


def _without(tree, path, route):
    """Return (path, TextFile) of a file without the lines of the other module.

    What a package has in /usr/lib stays, and a file of that name in /etc takes its place.
    """
    lines = [line for line in tree.lines(path) if not _is_other(line, route)]
    place = path if path.startswith("/etc/") else f"{_FOLDER}/{os.path.basename(path)}"
    is_empty = all(line.lstrip().startswith(("#", ";")) for line in lines)
    is_needed = path == "/etc/modules" or place != path or _is_below(tree, path)
    if is_empty and not is_needed:
        return place, text_files.of(None)
    return place, text_files.of("".join(f"{line}\n" for line in lines) or _MARK)


def _is_below(tree, path):
    """Say whether a file of the same name would be read once this one is gone."""
    name = os.path.basename(path)
    return any(tree.exists(f"{folder}/{name}") for folder in rdma_stack.FOLDERS_AT_BOOT[1:])
