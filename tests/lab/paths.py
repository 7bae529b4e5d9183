"""Where everything of a lab lies, and what it is called on the machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

#: The checkout that this very file belongs to.
CHECKOUT = Path(__file__).resolve().parents[2]
ROOT = Path("/var/lib/gpunode-lab")
BASES = ROOT / "base"
IMAGES = ROOT / "images"
#: What the root folder of any lab's node looks like.
ANY_TREE = str(ROOT / "*" / "nodes" / "*" / "root")
#: An interface's name has at most this many characters (IFNAMSIZ less the final zero).
INTERFACE_NAME_MAX = 15
_ID_CHARACTERS = 12
_SHORT_ID_CHARACTERS = 8


def lab_id(checkout):
    """Return the name of a checkout's lab: 12 hex digits of the sha256 of its real path."""
    real = str(Path(checkout).resolve())
    return hashlib.sha256(real.encode()).hexdigest()[:_ID_CHARACTERS]


@dataclass(frozen=True)
class LabPaths:
    """All locations and machine-wide names of one checkout's lab."""

    checkout: Path
    id: str

    @classmethod
    def of(cls, checkout):
        """Return the paths of the lab that belongs to the checkout in folder ``checkout``."""
        return cls(Path(checkout).resolve(), lab_id(checkout))

    @property
    def state(self):
        """The folder that holds all of this lab."""
        return ROOT / self.id

    @property
    def lock(self):
        """The lock held by whoever changes this lab."""
        return self.state / "lock"

    @property
    def settings(self):
        """The lab's own record: its checkout, subnet and number of nodes."""
        return self.state / "lab.json"

    @property
    def borrower(self):
        """The record of the process that the guest is lent to."""
        return self.state / "borrower.json"

    @property
    def nodes(self):
        """The folder with one folder per node."""
        return self.state / "nodes"

    @property
    def kernel_hosts(self):
        """The folder with one folder per kernel host."""
        return self.state / "kernel-hosts"

    def images(self, name):
        """Return the folder of the images that are for the node called ``name`` alone."""
        return self.state / "images" / name

    @property
    def keys(self):
        """The folder with the operator's key and the nodes' host keys."""
        return self.state / "keys"

    def host_key(self, name):
        """Return the private key by which the host called ``name`` is known."""
        return self.keys / f"{name}_host"

    @property
    def user_key(self):
        """The private key that opens every node of this lab."""
        return self.keys / "ops"

    @property
    def known_hosts(self):
        """The known_hosts file with the host keys of all nodes."""
        return self.keys / "known_hosts"

    @property
    def inventory(self):
        """The generated inventory."""
        return self.checkout / "inventory" / "lab" / "hosts.yml"

    @property
    def label(self):
        """The lab's name on the machine: its cgroup, and the comment of its firewall rules."""
        return f"gpunode-lab-{self.id}"

    @property
    def bridge(self):
        """The name of the lab's bridge."""
        return f"gl-{self.id}"

    def tree(self, name):
        """Return the root folder of the node called ``name``; mounted while the lab is up."""
        return self.nodes / name / "root"

    def machine_name(self, number):
        """Return what systemd-nspawn calls node ``number``; unique on the machine."""
        return f"{self.id[:_SHORT_ID_CHARACTERS]}-{number}"

    def host_interface(self, number):
        """Return the machine's end of node ``number``'s cable, as systemd-nspawn names it."""
        return f"vb-{self.machine_name(number)}"

    def kernel_host_interfaces(self, number):
        """Return this machine's ends of the two cables of kernel host ``number``."""
        return [f"vk-{self.id[:_SHORT_ID_CHARACTERS]}-{number}{end}" for end in "ab"]

    def kernel_host_macs(self, number):
        """Return the addresses of the two cards of kernel host ``number``; local to the machine."""
        middle = ":".join(self.id[at : at + 2] for at in (0, 2, 4))
        return [f"52:{middle}:{number:02x}:{card:02x}" for card in (1, 2)]
