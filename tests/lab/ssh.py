"""How the lab and its users reach a node."""

from __future__ import annotations

import subprocess

from lab.errors import LabError

USER = "ops"
CONNECT_TIMEOUT_S = 5


def options(paths):
    """Return ssh's options for any node of a lab, whatever the caller's own settings are."""
    return [
        "-F",
        "/dev/null",
        "-o",
        f"UserKnownHostsFile={paths.known_hosts}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        f"ConnectTimeout={CONNECT_TIMEOUT_S}",
        # What ssh chooses by itself takes five times the CPU that all else of a connection does.
        "-o",
        "KexAlgorithms=curve25519-sha256",
    ]


def execute(paths, address, command, timeout_s):
    """Run a shell command on a node as its ordinary user; return the CompletedProcess (text).

    The exit status is the command's own, or 255 where ssh could not connect.

    :param timeout_s: seconds after which it is given up.
    :raises LabError: it did not end in time.
    """
    argv = ["ssh", *options(paths), "-i", str(paths.user_key), f"{USER}@{address}", command]
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{command}` on {address} did not end within {timeout_s} s") from error
