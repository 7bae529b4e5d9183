"""Runs that bring a driver to a node, and the node they bring it to."""

from __future__ import annotations

import contextlib
import hashlib
import json

from lab import kernel, shell, textfile
from standins import runfile
from standins.machine import STANDIN
from standins.repository import Repository
from system import playbooks

#: Nothing else is looked after.
ONLY = {"conda_env_list": [], "gunicorn_app_list": []}
# Receipts tell what was; the key that DKMS signs with is the host's own.
_TRACES = r"""
find /etc/apt /etc/modprobe.d /etc/modules-load.d /etc/systemd /etc/gpunode /etc/nvidia \
    /var/lib/gpunode /var/lib/dkms /var/lib/nvidia /var/cache/gpunode /usr/src \
    -mindepth 1 -maxdepth 3 \
    -not -path '/usr/src/linux-*' -not -name '*.json' -not -name 'mok.*' \
    -not -path '/var/cache/gpunode/code*' \
    -printf '%p %y %u:%g %m -> %l;\n' 2>/dev/null | sort
find /usr/bin /usr/lib /lib/firmware /lib/modules -xdev -not -type d -path '*nvidia*' \
    2>/dev/null | sort
"""
# As any package manager holds it: fcntl(2). What it writes tells when it does.
_HOLD_LOCK = """
rm -f /run/held /run/released
systemd-run --quiet --collect --unit=holder python3 -c '
import fcntl, time
handle = open("{path}", "w")
fcntl.lockf(handle, fcntl.LOCK_EX)
open("/run/held", "w")
time.sleep({seconds})
open("/run/released", "w")'
until test -e /run/held; do sleep 0.2; done"""
_OF_OTHERS = """
set -e
mkdir -p /tmp/tool/DEBIAN
printf '%s\\n' 'Package: render-farm' 'Version: 1' 'Architecture: all' 'Description: Stand-in' \\
    'Maintainer: Nobody <nobody@example.com>' 'Depends: {depends}' >/tmp/tool/DEBIAN/control
dpkg-deb --build /tmp/tool /tmp/tool.deb
dpkg -i /tmp/tool.deb
"""
#: Where a node keeps what its drivers came from.
KEPT = "/var/lib/gpunode/nvidia_driver"
SOURCE = "/etc/apt/sources.list.d/standin.sources"


def converge(node, log, *arguments, **variables):
    """Run site.yml for the driver alone; see playbooks.site.

    :param log: a file, see playbooks.run.
    :param variables: those of the host.
    """
    return playbooks.site("--limit", node, *said(**variables), *arguments, log=log)


def file(folder, lab, machine, version, **options):
    """Build a .run for a machine; return what gpunode_driver_file is to say of it.

    :param folder: on the controller.
    :param machine: the Machine, whose compiler makes what CUDA asks.
    :param options: further ones of runfile.build.
    """
    path = runfile.build(
        folder / runfile.file_name(version, options.get("flavour", "tesla")),
        version,
        programs=STANDIN / "bin",
        libcuda=lab.tree(machine.name) / machine.libcuda(version).lstrip("/"),
        **options,
    )
    return f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"


def files(folder, lab, machine, *versions):
    """Return {version: what gpunode_driver_file is to say}; see :func:`file`."""
    return {version: file(folder, lab, machine, version) for version in versions}


def said(file=None, **variables):
    """Return the arguments of ansible-playbook for a host that is to have a .run and no more."""
    named = {"gpunode_driver_file": file} if file else {}
    return ["-e", json.dumps({**ONLY, **named, **variables})]


def converging(log, *nodes):
    """Return what runs site.yml on some nodes and returns the Run: (file, *arguments, **variables).

    :param log: as for playbooks.run.
    """

    def converge(file=None, *arguments, **variables):
        limit = ("--limit", ",".join(nodes))
        return playbooks.site(*limit, *said(file, **variables), *arguments, log=log)

    return converge


def is_settled(run, *nodes):
    """Say whether a run found nothing to do, by one round trip to each node."""
    return (
        run.status == 0
        and all(run.changed[node] == 0 for node in nodes)
        and run.plays == ["Probe, plan and refuse"]
        and len(run.round_trips) == len(nodes)
    )


def as_predicted(converge, node, **variables):
    """Converge, which has to do what check mode foretells; return the sentences.

    :param converge: (*arguments, **variables) -> playbooks.Run.
    """
    predicted = converge("--check", **variables)
    assert predicted.status == 0, predicted.messages()
    done = converge(**variables)
    assert done.status == 0, done.messages()
    assert predicted.changes(node) == done.changes(node)
    return done.changes(node)


class Node(shell.Shell):
    """A node that is new and has what modules are built with, for a kernel on disk.

    :ivar release: that of the kernel.
    """

    def __init__(self, lab, node, release):
        super().__init__(lab, node)
        self.tree = lab.tree(node)
        self.release = release

    def versions(self):
        """Return {package: version} of the driver's packages."""
        listed = self.says(r"dpkg-query -W -f '${db:Status-Abbrev}${Package}=${Version}\n'")
        rows = [line[3:].split("=") for line in listed.splitlines() if line.startswith("ii ")]
        return {name: found for name, found in rows if "nvidia" in name or name == "libcuda1"}

    def add_kernel(self, release):
        """Make a further kernel that modules can be built for."""
        kernel.add(self._lab, self.node, self.release, release)

    def modules(self):
        """Return {kernel: version} of the modules that the driver has in place."""
        paths = self.says("ls /lib/modules/*/updates/dkms/nvidia*.ko* 2>/dev/null || true").split()
        return {path.split("/")[3]: self.says(f"modinfo -F version {path}") for path in paths}

    def traces(self):
        """Return the lines of what a driver and its settings would leave, as find prints them."""
        return self.says(_TRACES).splitlines()

    def kept(self):
        """Return {folder: modes of it and of the packages in it} of what is kept."""
        found = self.says(f"find {KEPT} -mindepth 1 -printf '%P %m\\n' 2>/dev/null || true")
        kept = {}
        for line in found.splitlines():
            path, mode = line.split()
            kept.setdefault(path.partition("/")[0], set()).add(mode)
        return {name: modes for name, modes in kept.items() if name[0].isdigit()}


def hold_lock(seconds, path="/var/lib/dpkg/lock-frontend"):
    """Return the command of the shell that has a unit, holder, hold a lock for so long.

    :param path: of the lock; dpkg's, unless another one is said.
    """
    return _HOLD_LOCK.format(seconds=seconds, path=path)


def package_of_others(depends):
    """Return the commands that install render-farm, which stands on another package."""
    return _OF_OTHERS.format(depends=depends)


@contextlib.contextmanager
def packaged(lab, node):
    """Yield a fresh node that is :class:`Packaged`, and leave it fresh."""
    made = Packaged(lab, node)
    try:
        yield made
    finally:
        made.repository.close()
        lab.fresh(node)


class Packaged(Node):
    """A node whose distribution is the repository, once it has what the driver stands on."""

    def __init__(self, lab, node):
        super().__init__(lab, node, kernel.fresh(lab, node, "unattended-upgrades"))
        self.repository = Repository(self.tree)
        self.says("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")

    def publish(self, versions, security=(), faults=None, tesla=()):
        """Let the distribution offer these versions of the driver and no other.

        :param security: those of its archive for security.
        :param faults: {name of a package: one of repository.FAULTS}.
        :param tesla: those of the packages of branch 470, whose names carry the branch.
        """
        self.repository.publish("bookworm", "debian", versions, faults=faults)
        suites = ["bookworm"]
        if tesla:
            self.repository.publish("bookworm-updates", "debian-tesla-470", tesla, faults=faults)
            suites.append("bookworm-updates")
        if security:
            self.repository.publish(
                "bookworm-security", "debian", security, label="Debian-Security"
            )
            suites.append("bookworm-security")
        textfile.put(textfile.inside(self.tree, SOURCE), self.repository.source(*suites))
        self.says("apt-get update -q")

    def add_package_of_others(self, depends):
        """Install render-farm, a package of somebody else that stands on another one."""
        self.says(package_of_others(depends))
