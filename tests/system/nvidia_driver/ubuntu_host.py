"""A node shaped as Ubuntu whose archive is a stand-in, and what is held against it."""

from __future__ import annotations

import contextlib
from typing import ClassVar

from lab import shapes, textfile
from standins.repository import Repository, build_family, sources
from system.nvidia_driver import driver_runs

#: The file of sources of a host of Ubuntu.
SOURCE = "/etc/apt/sources.list.d/ubuntu.sources"
_COMPONENTS = ("main", "restricted", "universe", "multiverse")


@contextlib.contextmanager
def shaped(lab, node, shape):
    """Yield a fresh node that is :class:`UbuntuHost`, and leave it fresh."""
    made = UbuntuHost(lab, node, shape)
    try:
        yield made
    finally:
        made.repository.close()
        lab.fresh(node)


class UbuntuHost(driver_runs.Node):
    """A node whose distribution is Ubuntu, as far as the archive has packages of the driver.

    :ivar shape: the Shape.
    :ivar said: the variables by which a run goes to the archive: none, it is the host's own.
    """

    said: ClassVar = {}

    def __init__(self, lab, node, shape):
        super().__init__(lab, node, shapes.fresh(lab, node, shape))
        self.shape = shapes.SHAPES[shape]
        self.repository = Repository(self.tree)

    def package_version(self, driver):
        """Return the version of Ubuntu's packages of a driver."""
        return f"{driver}-0ubuntu0.{self.shape.version}.1"

    def publish(
        self, *drivers, security=(), faults=None, phased=None, kernels=(), built=(), families=()
    ):
        """Let the archive offer these versions of the driver and no other.

        :param security: those of its suite for security.
        :param kernels: releases of kernels, of linux-generic.
        :param built: (version of the driver, kernel, kind) of modules that are built already.
        :param faults: {name of a package: one of repository.FAULTS}.
        :param phased: {version of the driver: percentage of hosts that it is for}.
        :param families: what else it has, as packages/ubuntu.yml calls it.
        """
        release, updates, fixes = self.shape.suites()
        phased = {self.package_version(name): share for name, share in (phased or {}).items()}
        self.repository.hold(
            release, lambda pool: self._fill(pool, kernels, built, families), "Ubuntu", "Ubuntu"
        )
        for suite, offered in ((updates, drivers), (fixes, security)):
            versions = [self.package_version(name) for name in offered]
            said = {"faults": faults, "phased": phased}
            self.repository.publish(suite, "ubuntu", versions, "Ubuntu", "Ubuntu", **said)
        text = self.repository.source(release, updates, fixes, components=_COMPONENTS)
        textfile.put(textfile.inside(self.tree, SOURCE), text)
        self.says("apt-get update -q")

    def licences(self):
        """Return the licences of the kernels' modules."""
        shown = self.says("modinfo -F license /lib/modules/*/updates/dkms/nvidia.ko*")
        return set(shown.splitlines())

    def kinds(self):
        """Return the kinds of modules that packages are there for."""
        ends = ("headless", "dkms", "kernel-source")
        names = [name for name in self.versions() if any(end in name for end in ends)]
        return {"open" if name.endswith("-open") else "proprietary" for name in names}

    def module(self, driver, kernel, kind):
        """Return the module of a driver that is built for a kernel, as its file has it."""
        folder = f"/var/tmp/built/{driver}-{kind}-{kernel}"
        for name, text in sources(driver, kind == "open").items():
            textfile.put(textfile.inside(self.tree, f"{folder}/{name}"), text)
        self.says(f"make -s -C /lib/modules/{kernel}/build M={folder} modules")
        return textfile.inside(self.tree, f"{folder}/nvidia.ko").read_bytes()

    def _fill(self, pool, kernels, built, families):
        """Put packages of kernels, of modules that are built for some, and others in a folder."""
        for family in families:
            build_family(pool, family, "-", release=self.shape.version)
        for kernel in kernels:
            build_family(pool, "ubuntu-kernel", "-", **_of_kernel(kernel))
        for driver, kernel, kind in built:
            build_family(
                pool,
                "ubuntu-prebuilt",
                self.package_version(driver),
                kind="-open" if kind == "open" else "",
                module=self.module(driver, kernel, kind),
                **_of_kernel(kernel),
            )


def _of_kernel(release):
    """Return what packages of a kernel have in their names and versions: 6.8.0-45-generic."""
    number, abi, flavour = release.split("-")
    return {"kernel": release, "flavour": flavour, "abi": f"{number}-{abi}.{abi}"}
