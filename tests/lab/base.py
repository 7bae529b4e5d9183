"""Base trees: one bare Debian per release, shared by all labs of the machine.

A tree is named after everything that shapes it (its packages, what is done to
them, the machine's own certificate authorities) and never changed. Those of
older recipes stay: nodes of other checkouts, up or down, may lie over them, and
each takes only some 250 MB.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from lab import inherit, lock, mounts, textfile
from lab.command import run
from lab.paths import BASES
from lab.ssh import USER

#: Debian releases by the number of the node, modulo their count.
RELEASES = ("bookworm", "trixie")
#: A bare host: nothing but what systemd, SSH and Ansible need.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "sudo",
    "iproute2",
    "ca-certificates",
    "kmod",
)
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
HOOKS = (
    f'chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash --password "*" {USER}',
    f'chroot "$1" install -d -o {USER} -g {USER} -m 0700 /home/{USER}/.ssh',
    f'echo "{USER} ALL=(ALL:ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/{USER}"',
    f'chmod 0440 "$1/etc/sudoers.d/{USER}"',
    'chroot "$1" systemctl enable systemd-networkd.service',
    # Nobody sits at a node's console, and nothing but a test uses its mirror or dpkg's lock.
    'chroot "$1" systemctl mask console-getty.service',
    'chroot "$1" systemctl disable apt-daily.timer apt-daily-upgrade.timer',
    # Trusting an authority takes seconds, so it is done once and not in every node.
    f'mkdir -p "$1{_CERTIFICATES}"',
    f'test ! -d {_CERTIFICATES} || cp -a {_CERTIFICATES}/. "$1{_CERTIFICATES}/"',
    'chroot "$1" update-ca-certificates',
    # Every node has its own of these.
    'rm -f "$1"/etc/ssh/ssh_host_*_key* "$1/etc/resolv.conf" "$1/etc/hostname"',
    'rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*',
    'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
    ': >"$1/etc/machine-id"',
)
_BUILD_TIMEOUT_S = 900


def recipe(release):
    """Return the command of a release's tree; see :func:`mmdebstrap`."""
    return mmdebstrap(release, PACKAGES, HOOKS)


def mmdebstrap(release, packages, hooks, more=()):
    """Return an mmdebstrap command, without its sources and target.

    :param hooks: scripts that take the tree's folder, for when all packages are there.
    :param more: further options.
    """
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(packages)}",
        *more,
        *(f"--customize-hook={hook}" for hook in hooks),
        release,
    ]


def tree(release):
    """Return the folder of a release's base tree, whether it is there or not."""
    return BASES / f"{release}-{digest_of(recipe(release), certificates())}"


def digest_of(command, authorities):
    """Return the name of what a recipe makes on a machine with these certificate authorities."""
    return hashlib.sha256(json.dumps([command, authorities]).encode()).hexdigest()[:12]


def certificates():
    """Return the machine's own certificate authorities as sorted (path, sha256) pairs."""
    return [
        (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(_CERTIFICATES.rglob("*.crt"))
    ]


def ensure(release, say):
    """Build a release's base tree unless it is there; return its folder.

    :param say: called with a sentence when there is something to wait for.
    :raises LabError: the machine's mirror did not give what is needed.
    """
    what = f"the base tree of Debian {release}, about a minute"
    return built(tree(release), recipe(release), what, say)


def built(place, command, what, say):
    """Build a tree unless it is there; return its folder.

    :param place: that folder, its name ending in a digest of what it is made from.
    :param command: see :func:`mmdebstrap`.
    :param what: what it is, and how long that takes, for ``say``.
    :raises LabError: as :func:`ensure`.
    """
    if place.is_dir():
        return place
    name = place.name.rpartition("-")[0]
    with lock.held(place.with_name(f"{name}.lock")):
        if not place.is_dir():
            say(f"Building {what}")
            _build(name, command, place)
    return place


def _build(name, command, place):
    """Build beside ``place`` and rename: a killed build leaves nothing that counts."""
    for leftover in BASES.glob(f".building-{name}-*"):
        mounts.remove_tree(leftover)
    building = Path(tempfile.mkdtemp(dir=BASES, prefix=f".building-{name}-"))
    sources, configuration = inherit.apt_texts(command[-1])
    textfile.put(building / "machine.sources", sources)
    textfile.put(building / "apt.conf", configuration)
    target = building / "tree"
    # The signal ends mmdebstrap with this process, however that ends.
    run(
        [
            "setpriv",
            "--pdeathsig",
            "TERM",
            command[0],
            f"--aptopt={building / 'apt.conf'}",
            *command[1:],
            target,
            building / "machine.sources",
        ],
        timeout_s=_BUILD_TIMEOUT_S,
    )
    target.rename(place)
    mounts.remove_tree(building)
