"""How the lab and its users reach a node."""

from __future__ import annotations

import subprocess

from lab.errors import LabError

USER = "ops"
CONNECT_TIMEOUT_S = 5


def options(paths, connect_s=CONNECT_TIMEOUT_S):
    """Return ssh's options for any host of a lab, whatever the caller's own settings are.

    :param connect_s: seconds after which a connection is given up that does not come about.
    """
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
        f"ConnectTimeout={connect_s}",
        # What ssh chooses by itself takes five times the CPU that all else of a connection does.
        "-o",
        "KexAlgorithms=curve25519-sha256",
    ]


def execute(paths, address, command, timeout_s, connect_s=CONNECT_TIMEOUT_S, text_in=""):
    """Run a shell command on a host as its ordinary user; return the CompletedProcess (text).

    The exit status is the command's own, or 255 where ssh could not connect.

    :param timeout_s: seconds after which it is given up.
    :param connect_s: as for :func:`options`.
    :param text_in: its standard input.
    :raises LabError: it did not end in time.
    """
    argv = [
        "ssh",
        *options(paths, connect_s),
        "-i",
        str(paths.user_key),
        f"{USER}@{address}",
        command,
    ]
    try:
        return subprocess.run(
            argv,
            input=text_in,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{command}` on {address} did not end within {timeout_s} s") from error
