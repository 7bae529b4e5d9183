# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The loaded modules of the driver that stay loaded even when all its clients have ended."""

from __future__ import annotations

from collections.abc import Container, Iterable

from ..facts_shape import GpuClient, HeldModule
from ..kernel import kernels
from ..system.open_files import OpenFiles
from ..system.root import Root
from . import clients

# The modules of peer memory are in use as long as memory is registered, by whoever computes.
_PEER_MEMORY = ("nvidia_peermem", "nv_peer_mem")
#: The driver's modules and those of peer memory, each before what it needs.
MODULES = (*_PEER_MEMORY, "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia")
# Whose device begins so is that of the module; any other one of the driver's is nvidia's.
_DEVICES = {"/dev/nvidia-uvm": "nvidia_uvm", "/dev/nvidia-modeset": "nvidia_modeset"}
# Displays are opened there: cardN, and renderDN.
_DRM, _DRM_CLASS = "/dev/dri", "/sys/class/drm"


def survey(
    tree: Root, opened: Iterable[GpuClient], files: OpenFiles | None = None
) -> list[HeldModule]:
    """Return [{name, permanent, above, clients}], each module before what it needs.

    A module is among them that the kernel never unloads, that modules of others stand on
    (``above``), or that has more users than the modules above it and than those of its devices that
    are open tell of: a display (``clients`` are those who have one open), or a console.

    :param opened: rows of clients.clients.
    :param files: what processes have open; looked at anew where it is None.
    """
    users = kernels.module_users(tree)
    devices = [device for row in opened for device in row["devices"]]
    rows: list[HeldModule] = []
    for name in MODULES:
        if name not in users:
            continue
        number, above, is_permanent = users[name]
        foreign = sorted(set(above).difference(MODULES))
        is_short = number > len(above) and not _accounts_for(devices, name)
        if is_permanent or foreign or is_short:
            shows = is_short and name == "nvidia_drm"
            rows.append(
                {
                    "name": name,
                    "permanent": is_permanent,
                    "above": foreign,
                    "clients": _of_displays(tree, files) if shows else [],
                }
            )
    return rows


def goes_with(row: HeldModule, stopped: Container[str]) -> bool:
    """Say whether a row of :func:`survey` would hold no more with some units stopped."""
    is_in_use = not row["permanent"] and not row["above"] and row["clients"]
    return bool(is_in_use) and all(client["unit"] in stopped for client in row["clients"])


def described(row: HeldModule) -> str:
    """Return a row of :func:`survey` in words."""
    if row["permanent"]:
        return f"the kernel does not unload {row['name']} before a reboot"
    if row["above"]:
        return f"{', '.join(row['above'])} stands on {row['name']}"
    if row["clients"]:
        return f"{row['name']} is in use: {'; '.join(map(clients.described, row['clients']))}"
    return (
        f"{row['name']} is in use, and neither a module nor a process with its device open "
        "accounts for it, as with a console"
    )


def _accounts_for(devices: Iterable[str], name: str) -> bool:
    """Say whether a device that is open is one of a module, which is freed when that is closed."""
    owners = {
        next((owner for start, owner in _DEVICES.items() if device.startswith(start)), "nvidia")
        for device in devices
    }
    return name in owners or (bool(owners) and name in _PEER_MEMORY)


def _of_displays(tree: Root, files: OpenFiles | None) -> list[GpuClient]:
    """Return rows as of clients.clients of those who have a display of an NVIDIA GPU open."""
    nodes = {
        f"{_DRM}/{name}"
        for name in tree.names(_DRM_CLASS)
        if tree.target(f"{_DRM_CLASS}/{name}/device/driver") == "nvidia"
    }
    return clients.who_opened(tree, nodes.__contains__, files)
