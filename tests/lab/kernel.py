"""Kernels of a node, on disk alone: real headers, DKMS, and further releases made of them."""

from __future__ import annotations

import contextlib
import shlex

from lab.images import Image

_PACKAGES = ("dkms", "linux-headers-cloud-amd64")
_TIMEOUT_S = 300
_SET_UP = """
set -e
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {packages}
apt-get clean
"""
_RELEASE = "basename /lib/modules/*-cloud-amd64"
# What says which kernel a tree of headers is for. DKMS packs its modules as those of the kernel
# are packed, so one of them comes along, where the node has any.
_COPY = """
set -e
tree=/usr/src/linux-headers-{release}
rm -rf "$tree"
cp -a "$(readlink -f /lib/modules/{original}/build)" "$tree"
echo {release} >"$tree/include/config/kernel.release"
echo '#define UTS_RELEASE "{release}"' >"$tree/include/generated/utsrelease.h"
# Debian's own: it overrides KERNELRELEASE.
sed -i "s/{original}/{release}/g" "$tree/.kernelvariables"
mkdir -p /lib/modules/{release}
cd /lib/modules/{original}
for file in modules.order modules.builtin modules.builtin.modinfo; do
    [ ! -e $file ] || cp $file /lib/modules/{release}
done
find . -name '*.ko*' -not -name 'nvidia*' -print -quit |
    xargs -r cp --parents -t /lib/modules/{release}
ln -sfn "$tree" /lib/modules/{release}/build
# DKMS 3.2 makes no modules.dep for a kernel that has none.
depmod {release}
"""


@contextlib.contextmanager
def on_fresh(lab, node, *more_packages):
    """Yield the kernel's release of a node that is :func:`fresh`, and leave the node bare."""
    try:
        yield fresh(lab, node, *more_packages)
    finally:
        lab.fresh(node)


def fresh(lab, node, *more_packages):
    """Make a node new, with DKMS and the headers of a kernel on disk; return the kernel's release.

    :param more_packages: further packages, such as linux-image-cloud-amd64.
    """
    image = Image(set_up(*more_packages), lambda lab, node: install(lab, node, *more_packages))
    lab.fresh(node, image)
    return _as_root(lab, node, _RELEASE).strip()


def set_up(*more_packages):
    """Return the script of :func:`install`, which is part of the key of an image."""
    return _SET_UP.format(packages=" ".join((*_PACKAGES, *more_packages)))


def install(lab, node, *more_packages):
    """Install DKMS and the headers of a kernel on a node; return the kernel's release."""
    _as_root(lab, node, set_up(*more_packages))
    return _as_root(lab, node, _RELEASE).strip()


def add(lab, node, original, release):
    """Make a further kernel of a node that modules can be built for.

    :param original: the release whose headers are copied.
    :param release: what the copy calls itself.
    """
    _as_root(lab, node, _COPY.format(original=original, release=release))


def _as_root(lab, node, script):
    done = lab.ssh(node, f"sudo sh -c {shlex.quote(script)}", timeout_s=_TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
