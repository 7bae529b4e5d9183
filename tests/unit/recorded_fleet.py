"""Fleets of hosts that answer from facts: on the controller the real playbooks run over them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import combinations

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import (
    project,
    wanted_state,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan

#: Runs a command, and says at the very end how much memory its largest process took, in KiB.
PEAK = (
    sys.executable,
    "-c",
    "import resource, subprocess, sys; status = subprocess.run(sys.argv[1:]).returncode; "
    ""
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); "
    "sys.exit(status)",
)


def of_kinds(kinds, count):
    """Return {name: variables} of so many hosts of some kinds, in turn."""
    turns = itertools.islice(itertools.cycle(kinds), count)
    return {f"gpu{number:05}": variables for number, variables in enumerate(turns)}


class Fleet:
    """Hosts, and runs of playbooks over them.

    :param folder: an empty one, of this fleet alone, in which relative paths of hosts begin.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._log = self.folder / "log"

    def answer(self, name, facts):
        """Return the variables of a host that answers with these facts.

        :param name: that of a file for them, which several hosts may share.
        """
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"answer": facts}), encoding="utf-8")
        return {"recorded_answer": str(path)}

    def kinds(self, status):
        """Return variables of hosts of many kinds, each with facts by which its plan has a status.

        Those of the combinations, with receipts that say that all was done that is wanted.
        """
        found = []
        for number, row in enumerate(combinations.ROWS):
            said = {name: value for name, value in row["wanted"].items() if name != "needs"}
            site = wanted_state.Site(said, str(self.folder))
            asked = host_plan.wishes(site, said)
            facts = facts_shape.empty(facts_shape.Facts) | combinations.facts_of(row)
            facts["receipts"] = {
                component: {"digest": digest, "drift": [], "names": [], "notes": [], "asked": {}}
                for component, digest in asked.digests.items()
            }
            if host_plan.plan(asked, facts)["plan"]["status"] == status:
                found.append(said | self.answer(f"kind{number}", facts))
        return found

    def command(self, hosts, playbook="site.yml", **variables):
        """Return the command that runs a playbook over hosts, and its environment.

        :param hosts: {name: its variables}.
        :param variables: those of all hosts.
        """
        inventory = self.folder / "hosts.json"
        common = {
            "ansible_connection": "recorded",
            "ansible_python_interpreter": "/usr/bin/python3",
            "recorded_log": str(self._log),
            **variables,
        }
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        environment = {
            "ANSIBLE_CONFIG": str(project.ROOT / "ansible.cfg"),
            "ANSIBLE_CONNECTION_PLUGINS": str(project.ROOT / "tests/standins/connection"),
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return [program, "-i", str(inventory), playbook], environment

    def run(self, hosts, playbook="site.yml", callback="default", through=(), **variables):
        """Run a playbook over hosts, and return its exit status and all that it printed.

        :param through: what runs the command, such as PEAK.
        """
        argv, environment = self.command(hosts, playbook, **variables)
        done = subprocess.run(
            [*through, *argv],
            cwd=project.ROOT,
            env={**os.environ, **environment, "ANSIBLE_STDOUT_CALLBACK": callback},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def sent(self):
        """Return [(host, bytes)] of the commands that were sent since the last time."""
        rows = [line.split() for line in self._log.read_text().splitlines()]
        self._log.unlink()
        return [(host, int(count)) for host, count in rows]
