"""What a command costs: its time, the CPU of all that it starts here, and that of the nodes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass

from lab import cgroup
from lab.paths import CHECKOUT

#: As long as a fleet's first run may take, on the machine that it shares with its nodes.
LONGEST_S = 3600
# The shell becomes the command, in the group.
_IN_GROUP = 'echo $$ >"$1" && shift && exec "$@"'


@dataclass(frozen=True)
class Cost:
    """What one run took.

    :ivar wall_s: from its begin to its end, in seconds.
    :ivar controller_s: seconds of CPU on the controller.
    :ivar nodes_s: seconds of CPU on all nodes.
    """

    wall_s: float
    controller_s: float
    nodes_s: float


class Meter:
    """Runs commands in a control group of their own.

    What a command leaves there, such as ssh's connections that stay open, goes on, and is there for
    the next one, until :meth:`clear`.

    :param name: what the group is called.
    :param nodes: the name of the group that the nodes are in.
    """

    def __init__(self, name, nodes):
        self._name = name
        self._group = cgroup.hierarchy() / name
        self._nodes = cgroup.hierarchy() / nodes

    def clear(self):
        """End all that commands left."""
        cgroup.remove(self._name)

    def run(self, argv, environment):
        """Run a command in the checkout to its end; return (Cost, CompletedProcess with text).

        :param environment: variables beside those of this process.
        """
        self._group.mkdir(exist_ok=True)
        controller_s, nodes_s = cpu_s(self._group), cpu_s(self._nodes)
        began = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", _IN_GROUP, "sh", self._group / "cgroup.procs", *argv],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        wall_s = time.monotonic() - began
        return Cost(wall_s, cpu_s(self._group) - controller_s, cpu_s(self._nodes) - nodes_s), done


def cpu_s(group):
    """Return the seconds of CPU that a control group has taken; none where there is none.

    :param group: its folder.
    """
    with contextlib.suppress(FileNotFoundError):
        rows = (group / "cpu.stat").read_text(encoding="ascii").splitlines()
        return int(dict(row.split() for row in rows)["usage_usec"]) / 1e6
    return 0.0
