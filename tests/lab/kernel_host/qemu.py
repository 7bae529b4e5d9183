"""The machine that a kernel host is: QEMU's command, and what it is told while it runs."""

from __future__ import annotations

import contextlib
import json
import socket

from lab.kernel_host import disk, emulator

#: Names in the folder of a host.
CONSOLE = "console.log"
VARIABLES = "efi-variables.fd"
_CONTROL = "qmp"
_FIRMWARE = "/usr/share/OVMF/OVMF_{}_4M.fd"
_CPUS, _MEMORY_MIB = 2, 2048
_CONTROL_TIMEOUT_S = 10
_COPY_TIMEOUT_S = 30


def prepare(folder):
    """Give a machine the variables of its firmware, as they are where nothing ever booted.

    :raises LabError: they cannot be copied.
    """
    source, target = _FIRMWARE.format("VARS"), f"{emulator.FOLDER}/{VARIABLES}"
    emulator.work(folder, ["cp", source, target], _COPY_TIMEOUT_S)


def shown_as(number):
    """Return the tag by which the host mounts a folder that it is shown, by the order of these."""
    return f"shown{number}"


def command(name, folder, cards, shown):
    """Return the command that is the machine.

    :param name: of the host, for whoever looks at the machine's processes.
    :param folder: that of the host, with its disk.
    :param cards: (interface of this machine, MAC address) of the card that the host is reached by,
        and of one by Intel with SR-IOV.
    :param shown: folders of this machine that the host can mount and not change, by 9p.
    """
    here = emulator.FOLDER
    flash = "if=pflash,format=raw"
    network = []
    for number, (model, (interface, address)) in enumerate(
        zip(("virtio-net-pci", "igb"), cards, strict=True)
    ):
        tap = f"tap,id=net{number},ifname={interface},script=no,downscript=no"
        network += ["-netdev", tap]
        network += ["-device", f"{model},netdev=net{number},mac={address},romfile="]
    shares = []
    for number, path in enumerate(shown):
        share = f"local,path={emulator.MACHINE}{path},mount_tag={shown_as(number)}"
        shares += ["-virtfs", f"{share},readonly=on,security_model=none,multidevs=remap"]
    return emulator.command(
        folder,
        [
            *("qemu-system-x86_64", "-name", name, "-nodefaults", "-display", "none"),
            # KVM may be there and hang. A CPU that shows virtualization would invite the guest.
            *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,-svm,-la57"),
            *("-smp", str(_CPUS), "-m", str(_MEMORY_MIB)),
            *("-drive", f"{flash},readonly=on,file={_FIRMWARE.format('CODE')}"),
            *("-drive", f"{flash},file={here}/{VARIABLES}"),
            *("-drive", f"if=virtio,format=raw,file={here}/{disk.IMAGE}"),
            *network,
            *shares,
            *("-device", "virtio-rng-pci"),
            *("-chardev", f"file,id=console,path={here}/{CONSOLE},append=on"),
            *("-serial", "chardev:console"),
            *("-qmp", f"unix:{here}/{_CONTROL},server=on,wait=off"),
        ],
    )


def press_power_button(folder):
    """Ask the host to power itself off; a machine that does not listen or answer is not asked."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as control:
        control.settimeout(_CONTROL_TIMEOUT_S)
        control.connect(str(folder / _CONTROL))
        with control.makefile("rwb", buffering=0) as stream:
            stream.readline()
            for word in ("qmp_capabilities", "system_powerdown"):
                stream.write(json.dumps({"execute": word}).encode() + b"\n")
                # Events may come before the answer.
                next((line for line in stream if b'"event"' not in line), None)
