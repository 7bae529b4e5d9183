"""Whether this machine can hold a lab, and what it needs for that."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab import cgroup, command, inherit
from lab.errors import LabError

#: Debian package to a program of it.
_PACKAGES = {
    "systemd-container": "systemd-nspawn",
    "mmdebstrap": "mmdebstrap",
    "iproute2": "ip",
    "iptables": "iptables",
    "openssh-client": "ssh",
    "gpg": "gpg",
    "gpg-agent": "gpg-agent",
    "debian-archive-keyring": None,
}
_DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INSTALL_TIMEOUT_S = 600
_INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
#: The default of 128 ends at the 21st node, without a word about the reason.
_INOTIFY_INSTANCES_NEEDED = 8192


def obstacle():
    """Return one sentence saying why no lab can run here, or None."""
    name = inherit.os_release().get("ID", "unknown")
    if name != "debian":
        return f"The lab cannot run here: it needs Debian, and this system calls itself {name!r}."
    if os.geteuid() != 0:
        return f"The lab cannot run here: it needs root, and this is user {os.geteuid()}."
    if cgroup.hierarchy() is None:
        return "The lab cannot run here: no cgroup v2 hierarchy is mounted."
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "The lab cannot run here: this root may not make a mount namespace (a container?)."
    return None


def prepare():
    """Install the Debian packages that are missing and raise the limits that are too low.

    :raises LabError: a package could not be installed or a limit not be raised.
    """
    missing = [package for package, program in _PACKAGES.items() if not _is_there(program)]
    if missing:
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        apt_get = [*environment, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
        command.run([*apt_get, "update"], timeout_s=_INSTALL_TIMEOUT_S)
        command.run(
            [*apt_get, "install", "-y", "--no-install-recommends", *missing],
            timeout_s=_INSTALL_TIMEOUT_S,
        )
    raise_limit(_INOTIFY_INSTANCES, _INOTIFY_INSTANCES_NEEDED)


def raise_limit(path, needed):
    """Make the number in a kernel setting at least ``needed``.

    :raises LabError: the kernel does not take it.
    """
    if int(path.read_text(encoding="ascii")) >= needed:
        return
    path.write_text(f"{needed}\n", encoding="ascii")
    given = int(path.read_text(encoding="ascii"))
    if given < needed:
        raise LabError(
            f"{path} stays at {given} where the lab needs {needed}. Raise it as the "
            "machine's administrator, then run again"
        )


def _is_there(program):
    if program is None:
        return _DEBIAN_KEYRING.exists()
    return shutil.which(program, path=command.search_path()) is not None
