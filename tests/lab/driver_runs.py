"""Runs that bring a driver to a node, and the node they bring it to."""

from __future__ import annotations

import json
import shlex

from lab import fleet, kernel, textfile
from lab.repository import Repository

ONLY = {"conda_env_list": [], "gunicorn_app_list": []}
#: Where a node keeps what its drivers came from.
KEPT = "/var/lib/gpunode/nvidia_driver"
SOURCE = "/etc/apt/sources.list.d/standin.sources"


def converge(node, log, *arguments, **variables):
    """Run site.yml for the driver alone; see fleet.site.

    :param log: a file, see fleet.run.
    :param variables: those of the host.
    """
    said = json.dumps({**ONLY, **variables})
    return fleet.site("--limit", node, "-e", said, *arguments, log=log)


class Packaged:
    """A node whose distribution is the repository, once it has what the driver stands on."""

    def __init__(self, lab, node):
        self._lab = lab
        self._node = node
        self.tree = lab.tree(node)
        self.release = kernel.set_up(lab, node, "unattended-upgrades")
        self.repository = Repository(self.tree)
        self.says("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")

    def publish(self, versions, security=(), faults=None):
        self.repository.publish("bookworm", "debian", versions, faults=faults)
        suites = ["bookworm"]
        if security:
            self.repository.publish(
                "bookworm-security", "debian", security, label="Debian-Security"
            )
            suites.append("bookworm-security")
        textfile.put(textfile.inside(self.tree, SOURCE), self.repository.source(*suites))
        self.says("apt-get update -q")

    def says(self, command, timeout_s=120):
        """Run a command of the shell as root, and return what it prints."""
        answer = self._lab.ssh(self._node, f"sudo sh -c {shlex.quote(command)}", timeout_s)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.strip()

    def versions(self):
        """Return {package: version} of the driver's packages."""
        listed = self.says(r"dpkg-query -W -f '${db:Status-Abbrev}${Package}=${Version}\n'")
        rows = [line[3:].split("=") for line in listed.splitlines() if line.startswith("ii ")]
        return {name: found for name, found in rows if "nvidia" in name or name == "libcuda1"}

    def add_kernel(self, release):
        """Make a further kernel that modules can be built for."""
        kernel.add(self._lab, self._node, self.release, release)

    def modules(self):
        """Return {kernel: version} of the modules that the driver has in place."""
        paths = self.says("ls /lib/modules/*/updates/dkms/nvidia*.ko* 2>/dev/null || true").split()
        return {path.split("/")[3]: self.says(f"modinfo -F version {path}") for path in paths}

    def kept(self):
        """Return {folder: modes of it and of the packages in it} of what is kept."""
        found = self.says(f"find {KEPT} -mindepth 1 -printf '%P %m\\n' 2>/dev/null || true")
        kept = {}
        for line in found.splitlines():
            path, mode = line.split()
            kept.setdefault(path.partition("/")[0], set()).add(mode)
        return {name: modes for name, modes in kept.items() if name[0].isdigit()}
