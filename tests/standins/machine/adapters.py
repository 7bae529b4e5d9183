"""What the kernel shows of a machine's RDMA adapters, as the modules for them come and go.

The rows of them are those of machine.json; README.md says where each behaviour was read.
"""

import os
import subprocess
from pathlib import Path

MODULES = ("mlx_compat", "ib_core", "ib_uverbs", "mlx5_core", "mlx5_ib")
#: What udev asks for: of the adapter, and of what its driver then offers for RDMA.
AT_BOOT = ("mlx5_core", "mlx5_ib")
DEVICES = Path("/dev/infiniband")
_ATTRIBUTES = {
    "node_type": "1: CA",
    "ports/1/phys_state": "5: LinkUp",
    "ports/1/state": "4: ACTIVE",
    "ports/1/rate": "100 Gb/sec (4X EDR)",
    "ports/1/pkeys/0": "0xffff",
}


def show_interfaces(rows, top, state):
    """Have the network interfaces that are on adapters lead to them.

    :param top: the folder that becomes /sys.
    :param state: a folder that lasts until the machine goes down.
    """
    for row in rows:
        if row["interface"]:
            own = state / "interfaces" / row["interface"]
            own.mkdir(parents=True)
            (own / "device").symlink_to(f"../../../../bus/pci/devices/{row['address']}")
            place = os.path.realpath(f"/sys/class/net/{row['interface']}")
            layers = f"lowerdir={own}:{place}"
            over = top / Path(place).relative_to("/sys")
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, over], check=True)


def came(name, rows, top):
    """Show what a module does when it is loaded."""
    if name == "ib_core":
        (top / "class" / "infiniband").mkdir()
    for number, row in enumerate(rows):
        device = _of(row, top)
        if name == "mlx5_core":
            (device / "driver").symlink_to(f"../../drivers/{name}")
            _interface(row, device, "up")
        if name == "mlx5_ib" and (device / "driver").is_symlink():
            _show_device(row, device, top)
            DEVICES.mkdir(exist_ok=True)
            (DEVICES / f"uverbs{number}").touch()


def went(name, rows, top):
    """Show no more what a module did while it was loaded."""
    if name == "ib_core":
        (top / "class" / "infiniband").rmdir()
    for number, row in enumerate(rows):
        device = _of(row, top)
        if name == "mlx5_core":
            _interface(row, device, "down")
        if name == "mlx5_ib":
            (top / "class" / "infiniband" / row["name"]).unlink()
            subprocess.run(["rm", "-r", device / "infiniband"], check=True)
            (DEVICES / f"uverbs{number}").unlink(missing_ok=True)


def _of(row, top):
    return top / "bus" / "pci" / "devices" / row["address"]


def _interface(row, device, state):
    """Have the interface on an adapter come or go with its driver, as far as it can."""
    name = row["interface"]
    if not name:
        return
    place = device / "net" / name
    if state == "up":
        place.mkdir(parents=True)
    else:
        place.rmdir()
    subprocess.run(["ip", "link", "set", name, state], check=True)


def _show_device(row, device, top):
    place = device / "infiniband" / row["name"]
    told = {
        **_ATTRIBUTES,
        "fw_ver": row["firmware"],
        "board_id": row["board"],
        "ports/1/link_layer": "Ethernet" if row["interface"] else "InfiniBand",
    }
    for name, text in told.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"{text}\n")
    (place / "device").symlink_to(f"../../../{row['address']}")
    shown = f"../../bus/pci/devices/{row['address']}/infiniband/{row['name']}"
    (top / "class" / "infiniband" / row["name"]).symlink_to(shown)
