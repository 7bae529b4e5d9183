# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which peer memory module is loaded at boot: one at most, whoever asked for the other one.

The file that says so notes as well for what driver and RDMA stack nv_peer_mem was built.

nv_peer_memory brings no unit, and its init script does nothing under systemd
(Mellanox/nv_peer_memory issue 46); nothing loads nvidia_peermem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from ..rdma import peer_route, rdma_stack
from ..system import text_files
from ..system.root import Root

LOAD = "/etc/modules-load.d/gpunode-peer-memory.conf"
PARAMETERS = "/etc/modprobe.d/gpunode-peer-memory.conf"
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
_BUILT_FOR = "# Built for "
_FOLDER = os.path.dirname(LOAD)


class AtBoot(NamedTuple):
    """What others have loaded at boot.

    :ivar lines: {path: the lines of a file that names modules}.
    :ivar below: the names of files that would be read once one of that name in /etc is gone.
    """

    lines: dict[str, list[str]]
    below: set[str]


def observe(tree: Root) -> AtBoot:
    """Return what others have loaded at boot.

    :param tree: the host.
    """
    return AtBoot(
        {path: tree.lines(path) for path in rdma_stack.files_at_boot(tree) if path != LOAD},
        {name for folder in rdma_stack.FOLDERS_AT_BOOT[1:] for name in tree.names(folder)},
    )


def places(seen: AtBoot) -> list[str]:
    """Return the paths of all that may be changed for a route."""
    return [LOAD, PARAMETERS, *map(_place, seen.lines)]


def noted(there: Mapping[str, text_files.OnDisk]) -> str:
    """Return for what nv_peer_mem was built, as it is noted; '' where it is not.

    :param there: {path: OnDisk} of the files that may be changed.
    """
    lines = (there[LOAD].text or "").splitlines()
    return next((row[len(_BUILT_FOR) :] for row in lines if row.startswith(_BUILT_FOR)), "")


def wanted_files(
    seen: AtBoot, route: str, is_legacy: bool, built_for: str
) -> dict[str, text_files.TextFile]:
    """Return {path: text_files.TextFile} of what is to be there for a route.

    :param built_for: what driver and RDMA stack are called, see basis.Basis; noted of what is built
        here, '' where nothing is.
    :param is_legacy: whether the RDMA stack is one of 4.x, for which nvidia_peermem has to be told
        so (NVIDIA driver README, "GPUDirect RDMA Peer Memory Client").
    """
    found = {
        _place(path): _without(seen, path, route)
        for path, lines in seen.lines.items()
        if any(_is_other(line, route) for line in lines)
    }
    is_module = route in peer_route.MODULES
    note = f"{_BUILT_FOR}{built_for}\n" if built_for else ""
    found[LOAD] = text_files.of(f"{_MARK}{note}{route}\n" if is_module else None)
    needs_told = route == "nvidia_peermem" and is_legacy
    options = f"{_MARK}options nvidia_peermem peerdirect_support=1\n" if needs_told else None
    found[PARAMETERS] = text_files.of(options)
    return found


def _is_other(line: str, route: str) -> bool:
    """Say whether a line has a peer memory module loaded that is not the route's."""
    return line.split()[0].replace("-", "_") in peer_route.others(route)


def _place(path: str) -> str:
    """Return where a file is changed.

    What a package has in /usr/lib stays, and a file of that name in /etc takes its place.
    """
    return path if path.startswith("/etc/") else f"{_FOLDER}/{os.path.basename(path)}"


def _without(seen: AtBoot, path: str, route: str) -> text_files.TextFile:
    """Return a file without the lines of the other module."""
    lines = [line for line in seen.lines[path] if not _is_other(line, route)]
    is_empty = all(line.lstrip().startswith(("#", ";")) for line in lines)
    is_read_below = _place(path) != path or os.path.basename(path) in seen.below
    if is_empty and not is_read_below and path != "/etc/modules":
        return text_files.of(None)
    return text_files.of("".join(f"{line}\n" for line in lines) or _MARK)
