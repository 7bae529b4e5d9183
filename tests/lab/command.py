"""Commands on this machine, each with an end."""

from __future__ import annotations

import os
import subprocess

from lab.errors import LabError

_SHOWN_LINES = 20


def search_path():
    """Return PATH with the folders of system programs, which `su` leaves out on Debian."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def run(argv, timeout_s=60, check=True, text_in=None):
    """Run a command and return its CompletedProcess, stdout and stderr as text.

    :param argv: the command.
    :param timeout_s: seconds after which it is killed.
    :param check: treat a non-zero exit status as a failure.
    :param text_in: its standard input; nothing by default.
    :raises LabError: it failed, could not be started, or did not end in time.
    """
    shown = " ".join(str(word) for word in argv)
    source = {"stdin": subprocess.DEVNULL} if text_in is None else {"input": text_in}
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**os.environ, "PATH": search_path()},
            **source,
        )
    except FileNotFoundError as error:
        raise LabError(f"`{shown}` could not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{shown}` did not end within {timeout_s} s") from error
    if check and done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-_SHOWN_LINES:])
        raise LabError(f"`{shown}` ended with status {done.returncode}:\n{end}")
    return done
