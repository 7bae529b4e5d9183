"""A node shaped as Enterprise Linux with NVIDIA's repository beside it, and what is held to it."""

from __future__ import annotations

import contextlib

import pytest

from lab import shapes, shell
from lab.shapes import el
from standins import rpms
from system.nvidia_driver import driver_runs

_PORT = 8000
#: What the node's nvidia_driver_repository_url says. Over a network: what dnf fetches it keeps.
URL = f"http://127.0.0.1:{_PORT}"
PINS = "/etc/dnf/plugins/versionlock.list"
TRUSTED = "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpunode-nvidia"
REPOSITORY = "/etc/yum.repos.d/gpunode-nvidia.repo"
STREAM = "/etc/dnf/modules.d/nvidia-driver.module"
# What NVIDIA's repository for Enterprise Linux 10 calls its key; see roles/catalog.
_KEY_OF_10 = "CDF6BA43.pub"
_QUICK = "el9"
_SERVE = (
    f"systemd-run --quiet --collect --unit=repository python3 -m http.server -d {rpms.PATH}"
    f" -b 127.0.0.1 {_PORT}; until curl -sf {URL}/{rpms.KEY} >/dev/null ||"
    f" python3 -c 'import urllib.request; urllib.request.urlopen(\"{URL}/{rpms.KEY}\")'"
    f" 2>/dev/null; do sleep 0.2; done"
)


def shapes_of(capability):
    """Return the shapes for a fixture whose tests are quick on one of them, and slow on the others.

    :param capability: what they execute, as tools/support.yml calls it.
    """
    return [
        pytest.param(
            name,
            marks=[
                *(pytest.mark.executes(one, name) for one in ("facts", capability)),
                *([] if name == _QUICK else [pytest.mark.slow]),
            ],
        )
        for name in el.SHAPES
    ]


@contextlib.contextmanager
def shaped(lab, node, shape):
    """Yield a fresh node that is :class:`EnterpriseLinuxHost`, and leave it fresh."""
    try:
        yield EnterpriseLinuxHost(lab, node, shape)
    finally:
        lab.fresh(node)


class EnterpriseLinuxHost(shell.Shell):
    """A node of Enterprise Linux, as far as its repository has packages.

    :ivar shape: the shape.
    :ivar release: that of its kernel.
    """

    def __init__(self, lab, node, shape):
        super().__init__(lab, node)
        self.shape = shapes.SHAPES[shape]
        self.release = shapes.fresh(lab, node, shape)
        self._repository = rpms.Repository(self, lab.tree(node), shape)
        self._repository.begin()
        self.says(f"cd {rpms.PATH}; cp {rpms.KEY} {_KEY_OF_10}")
        self.serve()

    @property
    def said(self):
        """The variables by which a run goes to the repository, and trusts its key."""
        told = self.says(f"gpg --show-keys --with-colons {rpms.PATH}/{rpms.KEY}")
        (key,) = (line.split(":")[9] for line in told.splitlines() if line.startswith("fpr"))
        return {"nvidia_driver_repository_url": URL, "nvidia_driver_repository_key": key}

    def converging(self, log):
        """Return a function that runs the driver's play on the node, with the stack r580.

        :param log: see playbooks.run.
        """

        def run(*arguments, **variables):
            said = {"gpunode_stack": "r580", **self.said, **variables}
            return driver_runs.converge(self.node, log, *arguments, **said)

        return run

    def publish(self, *versions, faults=None, trees=None):
        """Let NVIDIA's repository offer these versions of the driver and no other.

        :param faults: {name of a package: one of rpms.FAULTS}.
        :param trees: {name of a package: what its modules are called in DKMS}.
        """
        self._repository.publish(versions, faults, self.shape.has_streams, trees)
        # As its timer does in time.
        self.says("dnf -q clean expire-cache")

    def serve(self):
        """Let NVIDIA's repository be reached."""
        self.says(_SERVE)

    def hide(self):
        """Let NVIDIA's repository be reached no more."""
        self.says("systemctl stop repository; dnf -q clean all")

    def versions(self):
        """Return {package: version} of the driver's packages."""
        listed = self.says(r"rpm -qa --qf '%{NAME}=%{VERSION}\n' '*nvidia*'")
        return dict(line.split("=") for line in listed.splitlines())

    def modules(self):
        """Return {kernel: (version, license)} of the modules that the driver has in place."""
        paths = self.says("ls /lib/modules/*/extra/nvidia*.ko* 2>/dev/null || true").split()
        return {
            path.split("/")[3]: tuple(
                self.says(f"modinfo -F version {path}; modinfo -F license {path}").splitlines()
            )
            for path in paths
        }

    def kept(self):
        """Return the names of the folders of what is kept."""
        found = self.says(f"ls {driver_runs.KEPT} 2>/dev/null || true").split()
        return {name for name in found if name[0].isdigit()}

    def traces(self):
        """Return what there is of any driver, in lines."""
        files = f"cat {PINS} {REPOSITORY} {TRUSTED} {STREAM}; ls {driver_runs.KEPT} | grep ^[0-9]"
        packages = "rpm -qa '*nvidia*' | sort; ls /usr/src | grep nvidia; dkms status"
        return self.says(f"{packages}; ({files}) 2>/dev/null; true").splitlines()
