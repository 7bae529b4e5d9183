"""Playbooks on a kernel host, where all takes its time."""

from __future__ import annotations

import json
import subprocess

from system import playbooks

_TIMEOUT_S = 1800


class KernelRuns:
    """Runs on one host.

    :ivar host: its name in the inventory.
    """

    def __init__(self, host, folder):
        """:param folder: with the inventory hosts.yml; it takes what runs write."""
        self.host = host
        self._folder = folder
        self._inventory = folder / "hosts.yml"

    def plan(self, **variables):
        """Return the plan of the host, as `make plan` writes it, and the Run."""
        path = self._folder / "plan.json"
        path.unlink(missing_ok=True)
        run = self._run("playbooks/plan.yml", "-e", f"preflight_json={path}", **variables)
        return json.loads(path.read_text(encoding="utf-8"))["hosts"][self.host], run

    def facts(self):
        """Return what gpunode.stack.node_info says of the host."""
        argv = [playbooks.BIN / "ansible", "-i", self._inventory, self.host]
        argv += ["-m", "gpunode.stack.node_info", "--tree", self._folder / "facts"]
        done = subprocess.run(
            list(map(str, argv)),
            cwd=playbooks.PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = (self._folder / "facts" / self.host).read_text(encoding="utf-8")
        return json.loads(told)["gpunode_facts"]

    def site(self, *arguments, **variables):
        """Run site.yml and return the Run."""
        return self._run("site.yml", *arguments, **variables)

    def _run(self, playbook, *arguments, **variables):
        said = ("-i", self._inventory, "-e", json.dumps(variables))
        log = self._folder / "round-trips"
        return playbooks.run(playbook, *said, *arguments, log=log, timeout_s=_TIMEOUT_S)
