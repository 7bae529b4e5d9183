# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Long commands in their own systemd unit, so that a cut connection does not kill them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Callable

from .. import urls
from ..refusal import Refusal
from . import commands, confinement
from .commands import Run

#: What the names of our own units begin with.
PREFIX = "gpunode-"
_POLL_S = 0.5
# What systemd-run itself says where it comes to nothing (systemd, src/run/run.c); the command's own
# words would have to begin alike.
_OWN_ERROR = re.compile(
    r"\AFailed to (?:connect to .*bus|create bus connection|start transient|mangle|parse).*"
)
# What it says of a setting that it, or the manager, does not know; behind it nothing was run.
_UNKNOWN = re.compile(
    r"\A(?:Unknown assignment|Failed to start transient .*(?:unknown property|Cannot set property))"
)
# EXIT_NETWORK and EXIT_NAMESPACE (src/shared/exit-status.h): what ends before the command begins.
_NO_NAMESPACE = (225, 226)
_LESS = (
    "systemd can make no namespaces on this host (status {}, see its journal), as in some "
    "containers: what is built and unpacked there has the host's own /tmp, network and folders"
)


def settle(name: str, timeout_s: float, run: Run = commands.run) -> None:
    """Wait for a command of an earlier, cut run to end, so that its result can be looked at.

    :param name: the name it was given in :func:`execute`.
    :param timeout_s: seconds to wait.
    :raises Refusal: it was still running after that.
    """
    unit = _unit(name)
    deadline = time.monotonic() + timeout_s
    while _has_systemd() and run(["systemctl", "is-active", "--quiet", unit]).returncode == 0:
        if time.monotonic() >= deadline:
            raise Refusal(
                name,
                f"{unit} of an earlier run is still at work after {timeout_s} s",
                f"Look at it with `systemctl status {unit}`, then run again",
            )
        time.sleep(_POLL_S)


def execute(
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 3600,
    run: Run = commands.run,
    warn: Callable[[str], object] = repr,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its CompletedProcess (text, stdout and stderr apart).

    Where systemd runs the host, the command is a transient unit of its own and
    survives this process; elsewhere (an image build, a chroot) it is a child.

    :param name: what the command does, in letters, digits, '-' and '_'; names the unit.
    :param argv: the command; of a confinement.Confined one the unit does without what that says.
    :param environment: its additional environment.
    :param warn: told in a sentence where it was confined less than it was to be.
    :raises subprocess.TimeoutExpired: it ran longer than ``timeout_s``.
    :raises commands.NotRun: systemd did not run it.
    """
    environment = environment or {}
    if not _has_systemd():
        return run(
            argv,
            # As in a unit: nobody else puts anything there.
            cwd="/",
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    if isinstance(argv, confinement.Confined):
        done = _run_confined(name, argv, environment, timeout_s, run, warn)
    else:
        done = _run_in_unit(name, argv, environment, [], timeout_s, run)
    _refuse_not_run(name, argv, done)
    return done


def _refuse_not_run(name: str, argv: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
    """Refuse where it is systemd that failed, and not the command."""
    own = _OWN_ERROR.search(done.stderr) if done.returncode else None
    if own:
        raise commands.NotRun(
            f"run {os.path.basename(argv[0])} in {_unit(name)}",
            own.group().strip(),
            "Look at `systemctl status dbus` and the journal, and run again",
        )


def _run_confined(
    name: str,
    argv: confinement.Confined,
    environment: Mapping[str, str],
    timeout_s: float,
    run: Run,
    warn: Callable[[str], object],
) -> subprocess.CompletedProcess[str]:
    """Run a command confined as far as systemd can on this host; see :func:`execute`."""
    done = _run_in_unit(name, argv, environment, argv.settings, timeout_s, run)
    if done.returncode and _UNKNOWN.search(done.stderr):
        # A systemd that is too old for it ran nothing.
        return _run_in_unit(name, argv, environment, [], timeout_s, run)
    if not _began_nothing(done):
        return done
    # The command itself may end like that as well. One that does nothing does not.
    tried = _run_in_unit(name, ["true"], {}, argv.settings, timeout_s, run)
    if not _began_nothing(tried):
        return done
    warn(urls.shown(_LESS.format(tried.returncode)))
    return _run_in_unit(name, argv, environment, argv.without_namespaces(), timeout_s, run)


def _began_nothing(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode in _NO_NAMESPACE and not (done.stdout or done.stderr)


def _run_in_unit(
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    confining: Sequence[str],
    timeout_s: float,
    run: Run,
) -> subprocess.CompletedProcess[str]:
    properties = [f"RuntimeMaxSec={timeout_s}", *confining]
    done: subprocess.CompletedProcess[str] = run(
        [
            "systemd-run",
            f"--unit={_unit(name)}",
            "--wait",
            "--pipe",
            "--collect",
            "--quiet",
            *(f"--property={setting}" for setting in properties),
            *(f"--setenv={key}={value}" for key, value in sorted(environment.items())),
            "--",
            *argv,
        ],
        capture_output=True,
        text=True,
        timeout=timeout_s + 30,
    )
    return done


def _unit(name: str) -> str:
    return f"{PREFIX}{name}.service"


def _has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")
