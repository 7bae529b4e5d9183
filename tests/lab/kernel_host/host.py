"""A kernel host: its disk, its machine and its answers."""

from __future__ import annotations

import base64
import contextlib
import shlex
from typing import ClassVar

from lab import (
    base,
    cgroup,
    furnishing,
    inherit,
    keys,
    mounts,
    network,
    process,
    readiness,
    ssh,
    textfile,
)
from lab.command import run
from lab.errors import LabError
from lab.kernel_host import disk, emulator, guest, qemu

#: Emulation is slow, and the machine may have other things to do.
BOOT_TIMEOUT_S = 900
#: One that was up already and does not answer for so long is switched off and on.
ANSWER_TIMEOUT_S = 120
POWER_OFF_TIMEOUT_S = 240
SSH_TIMEOUT_S = 300
CONNECT_TIMEOUT_S = 60
_KILL_TIMEOUT_S = 60
_POLL_S = 2
# systemd gives up after 90 s, by a clock that does not know how slow all else is.
_PATIENCE_PATH = "/etc/systemd/system.conf.d/emulation.conf"
_PATIENCE = """\
[Manager]
DefaultTimeoutStartSec=15min
DefaultTimeoutStopSec=5min
DefaultDeviceTimeoutSec=15min
"""
# What a node is shown by a bind mount.
_SHOWN = "{tag} {folder} 9p trans=virtio,version=9p2000.L,ro,nofail 0 0\n"
#: Become the command that follows, in the control group whose folder is named first.
_IN_GROUP = 'mkdir -p "$0" && echo 0 >"$0/cgroup.procs" && exec "$@"'


class KernelHost:
    """One host of a lab with a kernel of its own.

    :ivar console: the file with all that it wrote to its serial console since it was switched on.
    :ivar variables: those that Ansible needs beside its address: more patience than it has.
    """

    variables: ClassVar[dict] = {
        "ansible_timeout": CONNECT_TIMEOUT_S,
        "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=10m "
        f"-o ConnectTimeout={CONNECT_TIMEOUT_S} -o ServerAliveInterval=30",
    }

    def __init__(self, lab_paths, net, number):
        self.name = f"kernel{number}"
        self.number = number
        self.address = net.kernel_host_address(number)
        self._network = net
        self._paths = lab_paths
        self._folder = lab_paths.kernel_hosts / self.name
        self.console = self._folder / qemu.CONSOLE
        self._record = self._folder / "qemu.json"
        self._said = self._folder / "qemu.log"
        self._made_from = self._folder / "made-from"
        self._proven = self._folder / "proven"
        self._group = f"{lab_paths.label}/{self.name}"

    @property
    def boot_loader(self):
        """The name of the boot loader that its disk was made with; "" where it has none."""
        return self._disk_of.partition(" ")[0].rpartition("-")[0]

    @property
    def tree(self):
        """The tree that its disk was made from, on this machine."""
        return base.BASES / self._disk_of.partition(" ")[0]

    def is_running(self):
        """Return whether the host is switched on."""
        return process.is_alive(self._record)

    def host_key(self):
        """Return the public host key, made now unless it is there."""
        return keys.ensure(self._paths.host_key(self.name), f"root@{self.name}")

    def ensure(self, boot_loader, say):
        """Make the host exist, run and answer, whatever state it is in.

        :param boot_loader: a key of guest.BOOT_LOADERS; "" for the one that it has, or else GRUB.
            A host with another one is made new.
        :raises LabError: it does not get there; says what it answered last.
        """
        emulator.ensure(say)
        tree = guest.ensure(boot_loader or self.boot_loader or guest.GRUB, say)
        inherited = inherit.gather(guest.RELEASE, tree)
        wanted = " ".join([tree.name, disk.digest(), self.address, *inherited.folders])
        if self._disk_of != wanted:
            self.discard()
            self._make_disk(tree, inherited)
            textfile.put(self._made_from, wanted)
        if self.is_running():
            with contextlib.suppress(LabError):
                self._wait_ready(ANSWER_TIMEOUT_S)
                return
        self.stop()
        self._launch(inherited.folders)
        say(f"Booting {self.name}, a kernel of its own under emulation, some minutes")
        self._wait_ready(BOOT_TIMEOUT_S)

    def stop(self):
        """Switch the host off in order, end what is left of it, and keep its disk."""
        if self.is_running():
            qemu.press_power_button(self._folder)
            process.ended_within(self._record, POWER_OFF_TIMEOUT_S)
        self.cut_power()

    def cut_power(self):
        """End the host at once; what it wrote to its disk, and this machine has, stays."""
        process.stop(self._record, 0)
        cgroup.remove(self._group, _KILL_TIMEOUT_S)
        for interface in self._paths.kernel_host_interfaces(self.number):
            network.remove_interface(interface)

    def discard(self):
        """Switch the host off and forget its disk."""
        self.cut_power()
        # The record goes first: half a disk must not count as one.
        self._made_from.unlink(missing_ok=True)
        mounts.remove_tree(self._folder)

    def ssh(self, command, timeout_s=SSH_TIMEOUT_S):
        """Run a shell command on the host as its ordinary user; see :func:`lab.ssh.execute`."""
        return ssh.execute(self._paths, self.address, command, timeout_s, CONNECT_TIMEOUT_S)

    def put(self, path, content, mode=0o644):
        """Make ``path`` a file of root's on the host, with this content and mode.

        :param content: bytes.
        :raises LabError: the host does not take it.
        """
        command = f"base64 --decode | sudo install -D -m {mode:o} /dev/stdin {shlex.quote(path)}"
        text = base64.b64encode(content).decode()
        done = ssh.execute(
            self._paths, self.address, command, SSH_TIMEOUT_S, CONNECT_TIMEOUT_S, text
        )
        if done.returncode:
            raise LabError(f"{self.name} does not take {path}: {done.stderr.strip()}")

    @property
    def _disk_of(self):
        """What its disk was made from, the tree first; "" where it has none."""
        with contextlib.suppress(FileNotFoundError):
            return self._made_from.read_text(encoding="ascii")
        return ""

    def _make_disk(self, tree, inherited):
        """Make the disk of a tree, the host's own files and those that it inherits."""
        root = self._folder / disk.TREE
        layers = {"lowerdir": tree}
        for option, name in (("upperdir", "upper"), ("workdir", "work")):
            layers[option] = self._folder / name
            layers[option].mkdir(parents=True)
        root.mkdir()
        shown = ",".join(f"{option}={folder}" for option, folder in layers.items())
        run(["mount", "-t", "overlay", self._paths.label, "-o", shown, root])
        try:
            self._furnish(root, inherited)
            disk.make(self._folder)
        finally:
            for folder in (root, layers["upperdir"], layers["workdir"]):
                mounts.remove_tree(folder)
        qemu.prepare(self._folder)

    def _furnish(self, root, inherited):
        textfile.put(textfile.inside(root, _PATIENCE_PATH), _PATIENCE)
        mounts_text = textfile.inside(root, "/etc/fstab").read_text(encoding="ascii")
        for number, folder in enumerate(inherited.folders):
            textfile.inside(root, folder).mkdir(parents=True, exist_ok=True)
            mounts_text += _SHOWN.format(tag=qemu.shown_as(number), folder=folder)
        textfile.put(textfile.inside(root, "/etc/fstab"), mounts_text)
        address, _other = self._paths.kernel_host_macs(self.number)
        text = network.address_file(f"MACAddress={address}", self.address, self._network)
        network_file = ("/etc/systemd/network/10-lab.network", text)
        furnishing.put(root, self, self._paths, self._network, network_file, inherited.files)

    def _launch(self, shown):
        self.console.unlink(missing_ok=True)
        interfaces = self._paths.kernel_host_interfaces(self.number)
        for interface in interfaces:
            network.add_tap(interface, self._network.bridge)
        cards = list(zip(interfaces, self._paths.kernel_host_macs(self.number), strict=True))
        machine = qemu.command(self.name, self._folder, cards, shown)
        group = cgroup.hierarchy() / self._group
        process.start(["sh", "-c", _IN_GROUP, group, *machine], self._said, self._record)

    def _wait_ready(self, timeout_s):
        readiness.wait(self, timeout_s, self._proven, _POLL_S)


def all_of(lab_paths, net):
    """Return the kernel hosts that a lab has a folder of, in order."""
    numbers = sorted(
        int(folder.name.removeprefix("kernel")) for folder in lab_paths.kernel_hosts.glob("kernel*")
    )
    return [KernelHost(lab_paths, net, number) for number in numbers]
