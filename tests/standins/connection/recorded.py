"""A connection to hosts that answer whatever they are asked with what was recorded of them.

What runs on the controller is the real thing then, for as many hosts as are named.
"""

from __future__ import annotations

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: recorded
short_description: Answers each command with the content of a file
description: [Commands and what they are fed are counted in a log, and not run.]
author: gpunode contributors (@gpunode)
options:
  answer:
    description: The file.
    type: path
    required: true
    vars: [{name: recorded_answer}]
  host:
    description: The host's name.
    type: str
    vars: [{name: inventory_hostname}]
  log:
    description: A file that takes a line for each command - the host's name, and the bytes sent.
    type: path
    vars: [{name: recorded_log}]
  pipelining:
    description: Whether commands may be fed.
    type: bool
    default: true
    vars: [{name: ansible_pipelining}]
"""


class Connection(ConnectionBase):
    """See above."""

    transport = "recorded"
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        if self.get_option("log"):
            with open(self.get_option("log"), "a", encoding="utf-8") as log:
                log.write(f"{self.get_option('host')} {len(cmd) + len(in_data or b'')}\n")
        with open(self.get_option("answer"), "rb") as file:
            return 0, file.read(), b""

    # A look sends and fetches no file; a run that would is not played on.

    def put_file(self, in_path, out_path):
        raise NotImplementedError(f"{in_path} would be sent")

    def fetch_file(self, in_path, out_path):
        raise NotImplementedError(f"{in_path} would be fetched")

    def close(self):
        self._connected = False
