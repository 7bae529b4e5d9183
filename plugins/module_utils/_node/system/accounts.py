# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""User accounts: what a host knows of them, and whether they may become root."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Collection, Iterable

from ..facts_shape import Account
from ..refusal import Refusal
from . import commands, files
from .commands import Run

#: The groups whose members are root where they like, by name or in effect: they start containers
#: and machines that see the host's disks (docs.docker.com, "Linux post-installation steps";
#: documentation.ubuntu.com/lxd, "Access control"; libvirt.org, "polkit"; microk8s.io, "Getting
#: started"), or reach the disks, the memory, everybody's digests of passwords or what root finds
#: first, below /usr/local, themselves (wiki.debian.org/SystemGroups).
ROOT_GROUPS = (
    *("root", "sudo", "wheel", "admin"),
    *("docker", "lxd", "incus-admin", "libvirt", "libvirtd", "microk8s"),
    *("disk", "kmem", "shadow", "staff"),
)
# Where such daemons listen: what they start sees the host's disks, whatever the group is called
# that may ask them (docs.docker.com, "Protect the Docker daemon socket"; the daemons' defaults).
_SOCKETS = (
    *("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"),
    *("/run/crio/crio.sock", "/var/snap/lxd/common/lxd/unix.socket", "/var/lib/lxd/unix.socket"),
    "/var/lib/incus/unix.socket",
)
_DOAS = "/etc/doas.conf"
# doas.conf(5): what a rule has behind the one whom it permits, and what may stand in quotes.
_BEHIND = re.compile(r"\s(?:as|cmd)\s.*|#.*|\"")


@functools.cache
def not_root() -> Refusal:
    """Return what is said of a host on which we are not root; nothing else of it can be known."""
    return Refusal(
        "needs root",
        "the host is reached as another user and without become",
        "Set ansible_become: true for it in the inventory, or run with --become",
    )


def is_root() -> bool:
    """Say whether this program runs as root."""
    return os.geteuid() == 0


def survey(names: Iterable[str], run: Run = commands.run) -> dict[str, Account]:
    """Return {name: {exists, uid, home, shell, sudo}} for each name.

    A missing account has uid -1, empty texts and no sudo.

    :param run: what runs ``sudo``.
    """
    return {name: _account(name, run) for name in names}


def are_one(name: str, other: str) -> bool:
    """Say whether two names are of one user, who may have several."""
    try:
        return name == other or pwd.getpwnam(name).pw_uid == pwd.getpwnam(other).pw_uid
    except KeyError:
        return False


def group_exists(name: str) -> bool:
    """Say whether there is a group of this name."""
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False


def group_of(user: str) -> str:
    """Return the name of a user's own group."""
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def _account(name: str, run: Run) -> Account:
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return {"exists": False, "uid": -1, "home": "", "shell": "", "sudo": False}
    return {
        "exists": True,
        "uid": account.pw_uid,
        "home": account.pw_dir,
        "shell": account.pw_shell,
        "sudo": _may_become_root(account, run),
    }


def _may_become_root(account: pwd.struct_passwd, run: Run) -> bool:
    """Say whether an account is root, is in a group that stands for it, or has any rule for it.

    Be that one of sudo or of doas; or who may ask a daemon that starts containers.
    """
    if account.pw_uid == 0:
        return True
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    if any(files.group_name(gid) in ROOT_GROUPS for gid in groups):
        return True
    if any(_may_ask(path, account.pw_uid, groups) for path in _SOCKETS):
        return True
    names = {account.pw_name, str(account.pw_uid)}
    names |= {f":{name}" for gid in groups for name in (files.group_name(gid), str(gid))}
    if names & _permitted_by_doas():
        return True
    try:
        answer = run(
            ["sudo", "-n", "-l", "-U", account.pw_name],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
    except OSError:
        # There is none.
        return False
    except subprocess.TimeoutExpired:
        # One that asks a directory which does not answer may allow anything.
        return True
    return "may run the following commands" in answer


def _may_ask(path: str, uid: int, groups: Collection[int]) -> bool:
    """Say whether a user may connect to a daemon's socket, which takes the right to write to it."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(
        status.st_mode & stat.S_IWOTH
        or (status.st_mode & stat.S_IWGRP and status.st_gid in groups)
        or (status.st_mode & stat.S_IWUSR and status.st_uid == uid)
    )


def _permitted_by_doas() -> set[str]:
    """Return whom doas permits something: users, and groups with a colon before; and options."""
    try:
        rules = files.read_text(_DOAS, "replace").splitlines()
    except OSError:
        return set()
    found: set[str] = set()
    for rule in rules:
        verb, *rest = _BEHIND.sub("", rule).split() or [""]
        found |= set(rest) if verb == "permit" else set()
    return found
