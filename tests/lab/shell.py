"""Commands on a node."""

from __future__ import annotations

import shlex

_TIMEOUT_S = 300


class Shell:
    """A node, and commands of bash that run there as root.

    :ivar node: its name.
    """

    def __init__(self, lab, node):
        self._lab = lab
        self.node = node

    def says(self, command, timeout_s=_TIMEOUT_S):
        """Return what a command prints; it has to succeed."""
        answer = self.tried(command, timeout_s)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.strip()

    def tried(self, command, timeout_s=_TIMEOUT_S):
        """Run a command and return how it ended, a CompletedProcess with text."""
        return self._lab.ssh(self.node, f"sudo bash -c {shlex.quote(command)}", timeout_s)
