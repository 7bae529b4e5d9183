"""Nodes, one by one and as the lab of a checkout."""

from __future__ import annotations

import contextlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

from lab import (
    base,
    cgroup,
    furnishing,
    host,
    images,
    inherit,
    keys,
    lock,
    mounts,
    network,
    paths,
    process,
    readiness,
    ssh,
    textfile,
)
from lab.command import run
from lab.errors import LabError
from lab.kernel_host import host as kernel_host

DEFAULT_COUNT = 2
#: The number of the guest, a node beside the lab's own.
GUEST = network.MAX_NODES + 1
BOOT_TIMEOUT_S = 60
#: A node that was up already and does not answer for so long is switched off and on.
ANSWER_TIMEOUT_S = 20
POWER_OFF_TIMEOUT_S = 20
SSH_TIMEOUT_S = 60
_POLL_S = 0.1
_TESTS = Path(__file__).resolve().parent.parent


class Node:
    """One host of a lab: its files, its process and its answers.

    :ivar variables: those that Ansible needs beside its address.
    """

    variables: ClassVar[dict] = {}

    def __init__(self, lab_paths, net, number):
        self.name = f"node{number}"
        self.number = number
        #: The release of Debian that it lies on, unless it was made new on another one.
        self.own_release = base.RELEASES[(number - 1) % len(base.RELEASES)]
        self.address = net.node_address(number)
        #: The node's root folder on this machine; mounted while the lab is up, stopped nodes too.
        self.tree = lab_paths.tree(self.name)
        self.console = lab_paths.nodes / self.name / "console.log"
        self._network = net
        self._paths = lab_paths
        self._folder = lab_paths.nodes / self.name
        self._record = self._folder / "launcher.json"
        #: The folder of all that the node wrote over what it lies on.
        self.written = self._folder / "upper"
        self._base_record = self._folder / "base"
        self._image_record = self._folder / "image"
        self._release_record = self._folder / "release"
        self._shape_record = self._folder / "shape"
        self._proven = self._folder / "proven"
        self._group = f"{lab_paths.label}/{self.name}"

    @property
    def release(self):
        """The release of Debian that the node lies on."""
        return _text(self._release_record) or self.own_release

    @property
    def shape(self):
        """The name of what the node is shaped as, see lab.shapes; "" for Debian."""
        return _text(self._shape_record)

    def is_running(self):
        """Return whether the node is switched on."""
        return process.is_alive(self._record)

    def host_key(self):
        """Return the public host key, made now unless it is there."""
        return keys.ensure(self._paths.host_key(self.name), f"root@{self.name}")

    @property
    def base_tree(self):
        """The folder of the base tree that the node lies on."""
        return base.tree(self.release)

    def settle(self):
        """Forget all that was ever written in the node where what it lies on is gone."""
        if not Path(_text(self._image_record)).is_dir():
            self.discard()
        elif _text(self._base_record) != self.base_tree.name:
            self.discard(release=self.release)
        textfile.put(self._base_record, self.base_tree.name)

    def ensure(self, inherited):
        """Make the node exist, run and answer, whatever state it is in, once it is settled.

        :param inherited: what :func:`lab.inherit.gather` says of its release.
        :raises LabError: it does not get there; says what it answered last.
        """
        self._mount()
        self._furnish(inherited)
        if self.is_running():
            with contextlib.suppress(LabError):
                self._wait_ready(ANSWER_TIMEOUT_S)
                return
        self.stop()
        self._launch(inherited.folders)
        self._wait_ready(BOOT_TIMEOUT_S)

    def stop(self):
        """Switch the node off in order, end what is left of it, and keep its files."""
        process.stop(self._record, POWER_OFF_TIMEOUT_S)
        cgroup.remove(self._group)
        network.remove_interface(self._paths.host_interface(self.number))

    def discard(self, image=None, release="", shape=""):
        """Switch the node off and forget all that was ever written in it.

        :param image: the folder of the image that it begins with from now on.
        :param release: as for :class:`lab.images.Image`, and so is ``shape``.
        """
        self.stop()
        # The record goes first: half a node must not count as one.
        self._base_record.unlink(missing_ok=True)
        mounts.release(self.tree)
        for folder in ("upper", "work"):
            mounts.remove_tree(self._folder / folder)
        self._proven.unlink(missing_ok=True)
        records = (self._image_record, self._release_record, self._shape_record)
        for record, text in zip(records, (str(image or ""), release, shape), strict=True):
            record.unlink(missing_ok=True)
            if text:
                textfile.put(record, text)
        if image:
            textfile.put(self._base_record, self.base_tree.name)

    def ssh(self, command, timeout_s=SSH_TIMEOUT_S):
        """Run a shell command on the node as its ordinary user; see :func:`lab.ssh.execute`."""
        return ssh.execute(self._paths, self.address, command, timeout_s)

    def _mount(self):
        if mounts.is_mounted(self.tree):
            return
        image = _text(self._image_record)
        layers = {"lowerdir": f"{image}:{self.base_tree}" if image else self.base_tree}
        for option, folder in (("upperdir", self.written), ("workdir", self._folder / "work")):
            layers[option] = folder
            folder.mkdir(exist_ok=True)
        self.tree.mkdir(exist_ok=True)
        shown = ",".join(f"{option}={folder}" for option, folder in layers.items())
        run(["mount", "-t", "overlay", self._paths.label, "-o", shown, self.tree])

    def _furnish(self, inherited):
        net, files = self._network, inherited.files
        if self.shape:
            # It has sources and settings of its own, or no apt at all.
            files = {path: file for path, file in files.items() if not path.startswith(inherit.APT)}
        text = network.address_file("Name=host0", self.address, net)
        network_file = ("/etc/systemd/network/10-host0.network", text)
        furnishing.put(self.tree, self, self._paths, net, network_file, files)

    def _launch(self, folders):
        self.console.unlink(missing_ok=True)
        interface = self._paths.host_interface(self.number)
        shown = [path.replace("\\", "\\\\").replace(":", "\\:") for path in folders]
        nspawn = [
            "systemd-nspawn",
            "--quiet",
            "--settings=no",
            "--boot",
            "--directory",
            self.tree,
            "--machine",
            self._paths.machine_name(self.number),
            "--hostname",
            self.name,
            "--network-bridge",
            self._network.bridge,
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--console=read-only",
            "--resolv-conf=off",
            "--timezone=off",
            *(f"--bind-ro={path}" for path in shown),
        ]
        process.start(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "env",
                f"PYTHONPATH={_TESTS}",
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
                # Debian decides what /tmp is, as on a real host.
                "SYSTEMD_NSPAWN_TMPFS_TMP=0",
                sys.executable,
                "-m",
                "lab.launcher",
                self._group,
                self.tree,
                interface,
                *nspawn,
            ],
            self.console,
            self._record,
        )

    def _wait_ready(self, timeout_s):
        readiness.wait(self, timeout_s, self._proven, _POLL_S)


def _text(path):
    """Return what a file says, "" where there is none."""
    return path.read_text(encoding="ascii") if path.exists() else ""


class Lab:
    """The lab of one checkout."""

    def __init__(self, checkout, say=lambda sentence: None):
        """:param say: called with a sentence when there is something to wait for."""
        self.paths = paths.LabPaths.of(checkout)
        self._say = say

    @property
    def nodes(self):
        """The lab's nodes, in order; none before the first :meth:`up`."""
        count = self._settings().get("count", 0)
        return [self._node(number) for number in range(1, count + 1)]

    @property
    def network(self):
        """The lab's network.

        :raises LabError: the lab was never up.
        """
        settings = self._settings()
        if not settings:
            raise LabError(f"{self.paths.checkout} has no lab: `make lab-up` starts it")
        subnet = ip_network(settings["subnet"])
        return network.Network(self.paths.bridge, subnet, self.paths.label)

    @property
    def kernel_hosts(self):
        """The lab's kernel hosts, in order, see lab.kernel_host; none before any were asked for."""
        return kernel_host.all_of(self.paths, self.network) if self._settings() else []

    def host(self, name):
        """Return the node, or the kernel host, of that name.

        :raises LabError: the lab has no such host.
        """
        lent = [self._node(GUEST)] if self.paths.borrower.exists() else []
        hosts = [*self.nodes, *self.kernel_hosts]
        for one in [*hosts, *lent]:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in hosts) or "none"
        raise LabError(f"the lab has no node {name!r}; it has {known}")

    def node(self, name):
        """Return the node of that name.

        :raises LabError: the lab has no such node.
        """
        found = self.host(name)
        if not isinstance(found, Node):
            raise LabError(f"{name} has a kernel of its own, and is no node")
        return found

    def up(self, count=None, fresh=False):
        """Make the lab consist of ``count`` nodes that answer, whatever state it is in.

        :param count: how many; as many as it had, or two, by default. Nodes
            beyond it are switched off and keep their files.
        :param fresh: forget all that was ever written in the nodes.
        :raises LabError: the lab does not get there.
        """
        if count is not None and not 1 <= count <= network.MAX_NODES:
            raise LabError(f"a lab of {count} nodes is not possible: 1 to {network.MAX_NODES} are")
        host.prepare()
        with lock.held(self.paths.lock):
            count = count or self._settings().get("count", DEFAULT_COUNT)
            nodes = self._settle_network(count)
            self._each(self._beyond(count), Node.stop)
            if fresh:
                self._each(nodes, Node.discard)
            self._write_keys()
            self._ensure(nodes)

    def up_kernel_hosts(self, count, boot_loader="", fresh=False):
        """Make ``count`` kernel hosts run and answer, beside nodes that may be off.

        :param count: those beyond it are switched off and keep their disks.
        :param boot_loader: the name of what all of them boot by; "" for what each has, or GRUB.
        :param fresh: forget all that was ever written to their disks.
        :raises LabError: they do not get there.
        """
        most = network.MAX_KERNEL_HOSTS
        if not 0 <= count <= most:
            raise LabError(f"a lab of {count} kernel hosts is not possible: 0 to {most} are")
        host.prepare()
        with lock.held(self.paths.lock):
            self._settle_network(self._settings().get("count", DEFAULT_COUNT))
            self._each(self.kernel_hosts[count:], kernel_host.KernelHost.stop)
            numbers = range(1, count + 1)
            hosts = [kernel_host.KernelHost(self.paths, self.network, number) for number in numbers]
            if fresh:
                self._each(hosts, kernel_host.KernelHost.discard)
            self._write_keys(hosts)
            self._each(hosts, lambda one: one.ensure(boot_loader, self._say))

    def down(self):
        """Leave nothing of the lab running: no process, mount, interface, rule or cgroup.

        The nodes' files stay; the next :meth:`up` switches the same nodes on.
        """
        with lock.held(self.paths.lock):
            self._each(self._beyond(0), Node.stop)
            self._each(self.kernel_hosts, kernel_host.KernelHost.stop)
            cgroup.remove(self.paths.label)
            network.remove(self.paths.bridge, self.paths.label)
            for folder in (self.paths.nodes, self.paths.kernel_hosts):
                mounts.release(folder)

    def remove(self):
        """Take the lab down and forget its nodes, keys and subnet."""
        self.down()
        mounts.remove_tree(self.paths.state)

    def fresh(self, name, image=None):
        """Make one node new, as it was after its very first boot.

        :param image: an :class:`lab.images.Image`: what else was done to it before that boot.
        """
        if image:
            self._renew(name, images.ensure(self, name, image), image.release, image.shape)
        else:
            self.bare(name)

    def bare(self, name, release=""):
        """Make one node new, with nothing but its base tree.

        :param release: that of Debian; that of the node's number by default.
        """
        self._renew(name, None, release, "")

    def _renew(self, name, *begins_with):
        with lock.held(self.paths.lock):
            node = self.node(name)
            node.discard(*begins_with)
            self._ensure([node])

    def stop(self, name):
        """Switch one node off; its files stay, readable at :meth:`tree`."""
        with lock.held(self.paths.lock):
            self.node(name).stop()

    def start(self, name):
        """Switch one node on and wait until it answers."""
        with lock.held(self.paths.lock):
            self._ensure([self.node(name)])

    def ssh(self, name, command, timeout_s=SSH_TIMEOUT_S):
        """Run a shell command on a host as its ordinary user; see :func:`lab.ssh.execute`."""
        return self.host(name).ssh(command, timeout_s)

    def tree(self, name):
        """Return the path of a node's root folder on this machine."""
        return self.node(name).tree

    def lend(self, borrower):
        """Make the guest new and return it: a node beside the lab's own, which may be off.

        The next :meth:`up` or :meth:`down` switches it off.

        :param borrower: the id of the process that it is for; nobody else gets it while that runs.
        :raises LabError: it does not get there, or is lent to another process.
        """
        host.prepare()
        with lock.held(self.paths.lock):
            self._require_not_lent(borrower)
            process.note(borrower, self.paths.borrower)
            self._settle_network(self._settings().get("count", DEFAULT_COUNT))
            guest = self._node(GUEST)
            guest.discard()
            self._write_keys([guest])
            self._ensure([guest])
        return guest

    def take_back(self, borrower):
        """Switch the guest off and forget it, if there is one.

        :param borrower: the id of the process that it was for.
        :raises LabError: it is lent to another process.
        """
        with lock.held(self.paths.lock):
            self._require_not_lent(borrower)
            if self._settings():
                self._node(GUEST).discard()
            self.paths.borrower.unlink(missing_ok=True)

    def _require_not_lent(self, borrower):
        """Refuse where another process than ``borrower`` has the guest, and still runs."""
        pid = process.live_pid(self.paths.borrower)
        if pid not in (None, borrower):
            raise LabError(
                f"the lab's spare node is lent to process {pid}, which still runs; "
                f"`ps {pid}` shows it. Wait for it or end it, then run again"
            )

    @contextlib.contextmanager
    def confined(self, name, port):
        """Leave a node no way out but to one TCP port of this machine, for a ``with`` block."""
        network.confine(self.network, self.node(name).address, port)
        try:
            yield
        finally:
            network.free(self.paths.label)

    def _write_keys(self, more=()):
        """Make the operator's key and the hosts' own, and write how these are known.

        :param more: hosts beside the nodes and the kernel hosts that the lab has so far.
        """
        keys.ensure(self.paths.user_key, ssh.USER)
        hosts = {one.name: one for one in [*self.nodes, *self.kernel_hosts, *more]}.values()
        host_keys = self._each(hosts, lambda one: one.host_key())
        addresses = [one.address for one in hosts]
        keys.write_known_hosts(self.paths.known_hosts, dict(zip(addresses, host_keys, strict=True)))

    def _ensure(self, nodes):
        self._each(nodes, Node.settle)
        releases = sorted({node.release for node in nodes})
        trees = self._each(releases, lambda release: base.ensure(release, self._say))
        inherited = {
            release: inherit.gather(release, tree)
            for release, tree in zip(releases, trees, strict=True)
        }
        self._each(nodes, lambda node: node.ensure(inherited[node.release]))

    def _settings(self):
        try:
            return json.loads(self.paths.settings.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    def _node(self, number):
        return Node(self.paths, self.network, number)

    def _beyond(self, count):
        """Return the nodes with a number above ``count`` that have a folder."""
        numbers = sorted(
            int(folder.name.removeprefix("node")) for folder in self.paths.nodes.glob("node*")
        )
        return [self._node(number) for number in numbers if number > count]

    def _settle_network(self, count):
        """Choose the lab's subnet, bring its network up, and return its nodes.

        One lab of the machine at a time, or two could choose the same one.
        """
        with lock.held(paths.ROOT / "lock"):
            recorded = self._settings().get("subnet")
            taken = network.machine_routes(self.paths.bridge) + self._subnets_of_other_labs()
            subnet = network.choose_subnet(self.paths.id, recorded and ip_network(recorded), taken)
            if str(subnet) != recorded:
                network.remove(self.paths.bridge, self.paths.label)
            settings = {"checkout": str(self.paths.checkout), "subnet": str(subnet), "count": count}
            textfile.put(self.paths.settings, json.dumps(settings, indent=1) + "\n")
            network.ensure(self.network)
        return self.nodes

    def _subnets_of_other_labs(self):
        """Return the subnets of the machine's other labs, up or down."""
        records = [path for path in paths.ROOT.glob("*/lab.json") if path != self.paths.settings]
        return [ip_network(json.loads(path.read_text("utf-8"))["subnet"]) for path in records]

    @staticmethod
    def _each(items, action):
        """Call ``action`` on all items at the same time and return the results in order."""
        with ThreadPoolExecutor(max_workers=20) as pool:
            return list(pool.map(action, items))
