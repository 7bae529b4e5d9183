"""Nodes shaped as Ubuntu; ubuntu.yml has the facts and their sources."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from lab import kernel, textfile

_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
_TIMEOUT_S = 120
_LSB = """\
DISTRIB_ID=Ubuntu
DISTRIB_RELEASE={VERSION_ID}
DISTRIB_CODENAME={VERSION_CODENAME}
DISTRIB_DESCRIPTION="{PRETTY_NAME}"
"""
# Debian's kernel gives its name away; Ubuntu's is one that boots.
_SHAPE = """
set -e
rm -rf /lib/modules/{debian}
touch /boot/vmlinuz-{release}
ln -sfn boot/vmlinuz-{release} /vmlinuz
ln -sfn ../usr/lib/os-release /etc/os-release
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
apt-get update -qq
"""


class Ubuntu:
    """A release of Ubuntu that a node can be shaped as.

    :ivar base: the release of Debian that the node has to lie on.
    :ivar kernel: the release of its kernel.
    :ivar codename: what its suites are called after.
    :ivar version: "24.04".
    """

    def __init__(self, row):
        self.base, self.kernel = row["base"], row["kernel"]
        self._os_release = row["os_release"]
        self.codename = self._os_release["VERSION_CODENAME"]
        self.version = self._os_release["VERSION_ID"]

    @property
    def key(self):
        """A text that changes with all that is done to a node."""
        return "\n".join([kernel.set_up(*_FACTS["packages"]), _SHAPE, repr((vars(self), _FACTS))])

    def prepare(self, lab, node):
        """Give a fresh node the shape."""
        debian = kernel.install(lab, node, *_FACTS["packages"])
        kernel.add(lab, node, debian, self.kernel)
        _run(lab, node, _SHAPE.format(debian=debian, release=self.kernel))
        told = "".join(f'{name}="{value}"\n' for name, value in self._os_release.items())
        lsb = _LSB.format(**self._os_release)
        texts = {"/usr/lib/os-release": told, "/etc/lsb-release": lsb, **_FACTS["files"]}
        for path, text in texts.items():
            textfile.put(textfile.inside(lab.tree(node), path), text)

    def suites(self):
        """Return the names of the suites that a host has from the day it is delivered."""
        return [f"{self.codename}{ending}" for ending in ("", "-updates", "-security")]


SHAPES = {name: Ubuntu(row) for name, row in _FACTS["shapes"].items()}


def _run(lab, node, script):
    done = lab.ssh(node, f"sudo sh -c {shlex.quote(script)}", timeout_s=_TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
