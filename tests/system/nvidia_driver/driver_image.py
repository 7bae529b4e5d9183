"""A node that is an image for hosts with GPUs, and runs that bring its driver."""

from __future__ import annotations

import contextlib
import hashlib
import json

from lab import kernel, shell
from standins import runfile
from system import playbooks
from system.nvidia_driver import driver_runs

#: Nothing but the driver.
ONLY = {"conda_env_list": [], "gunicorn_app_list": []}
# Logs tell of times, and ld.so.cache and the lists that depmod makes follow from the rest.
_FINGERPRINT = """
set -e
shopt -s nullglob
ls /usr/src
find /etc /usr/src/nvidia* /var/lib/dkms /var/lib/nvidia /var/lib/gpunode \
    /usr/bin/nvidia* /usr/lib/x86_64-linux-gnu/lib{cuda,nvidia}* /usr/lib/systemd/system/nvidia* \
    $(find /lib/modules/ -name "nvidia*") -xdev \
    -not -name ld.so.cache -not -path "/var/lib/dkms/*/log*" -not -path "/etc/apt/*" \
    -not -name initramfs.json \
    \\( -type f -printf "%p %u:%g %m " -exec sh -c 'sha256sum <"$1"' - {} \\; \
    -o -printf "%p %y %u:%g %m %l\\n" \\) | sort
"""

# What is in the folder is in a small file system of its own then.
_FULL = """
set -e
mkdir -p {folder}
cp -a {folder} /mnt/full
mount -t tmpfs -o size=$(($(du -sk {folder} | cut -f 1) * 5 / 4 + 64))k tmpfs {folder}
cp -a /mnt/full/. {folder}
fallocate -l $(df --output=avail -k {folder} | tail -n 1)k {folder}/.ballast
"""
_FREE = "umount {folder}; rm -r /mnt/full"


class Image(shell.Shell):
    """A node, and runs of site.yml for its driver alone.

    :param log: a file for what playbooks.site notes of connections.
    """

    def __init__(self, lab, node, log):
        super().__init__(lab, node)
        self._log = log

    def converge(self, *arguments, **variables):
        """Run site.yml with these arguments and variables; return the playbooks.Run."""
        return playbooks.site(*self.arguments(**variables), *arguments, log=self._log)

    def arguments(self, **variables):
        """Return the arguments of site.yml for these variables."""
        return "--limit", self.node, "-e", json.dumps({**ONLY, **variables})

    def converged(self, **variables):
        """Run site.yml, which has to succeed; return the sentences of what it changed."""
        done = self.converge(**variables)
        assert done.status == 0, done.messages()
        return done.changes(self.node)

    def refused(self, **variables):
        """Run site.yml, which has to fail and leave the node as it was; return what it says."""
        before = self.fingerprint()
        done = self.converge(**variables)
        assert done.status != 0, done.changes(self.node)
        assert set(self.fingerprint()) ^ set(before) == set(), done.messages()
        return done.messages()

    def rests(self, **variables):
        """Say whether a run finds nothing to do."""
        done = self.converge(**variables)
        assert done.status == 0, done.messages()
        return driver_runs.is_settled(done, self.node)

    def fingerprint(self):
        """Return a line for each file and folder that a driver consists of, and all of /etc."""
        return self.says(_FINGERPRINT).splitlines()

    def module(self, release):
        """Return the version of the module of a kernel, '' where there is none."""
        found = self.tried(f"modinfo -F version /lib/modules/{release}/updates/dkms/nvidia.ko*")
        return found.stdout.strip()

    def libraries(self):
        """Return the versions of libcuda.so that are there."""
        found = self.tried("cd /usr/lib/x86_64-linux-gnu && ls libcuda.so.*.*")
        return [name.removeprefix("libcuda.so.") for name in found.stdout.split()]

    @contextlib.contextmanager
    def full(self, folder):
        """Let there be room for nothing more below a folder, for a ``with`` block."""
        self.says(_FULL.format(folder=folder))
        try:
            yield
        finally:
            self.says(_FREE.format(folder=folder))

    def add_kernel(self, release):
        """Make a further kernel, like the first one; return its release."""
        original = self.says("ls /lib/modules | head -n 1")
        kernel.add(self._lab, self.node, original, release)
        return release


def file(folder, version, says=None, **settings):
    """Make a .run, and return what gpunode_driver_file is to say of it.

    :param says: the version in its name, where that is not its own.
    :param settings: of runfile.build.
    """
    name = runfile.file_name(says or version, settings.get("flavour", "tesla"))
    path = runfile.build(folder / name, version, **settings)
    return f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"
