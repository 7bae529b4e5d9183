"""Run playbooks on the lab as an operator would, and read what they did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
_COUNTING_SSH = Path(__file__).with_name("counting_ssh.sh")


@dataclass(frozen=True)
class Run:
    """What one run of a playbook did."""

    status: int
    output: dict
    text: str
    round_trips: list

    @property
    def stats(self):
        """{host: {ok, changed, failures, unreachable, ...}}."""
        return self.output["stats"]

    @property
    def changed(self):
        """{host: number of tasks that changed something}."""
        return {host: counts["changed"] for host, counts in self.stats.items()}

    @property
    def plays(self):
        """The names of the plays that had a host."""
        return [play["play"]["name"] for play in self.output["plays"] if play["tasks"]]

    def results(self, host):
        """Yield (task name, result) of a host, in the order of the run, each turn of a loop too."""
        for play in self.output["plays"]:
            for task in play["tasks"]:
                if host in task["hosts"]:
                    for result in _turns(task["hosts"][host]):
                        yield task["task"]["name"], result

    def changes(self, host):
        """Return the sentences with which the modules said what they changed on a host."""
        return [says for _task, result in self.results(host) for says in result.get("changes", [])]

    def diffs(self, host):
        """Return the diffs that were shown of a host, in the order of the run."""
        return [result["diff"] for _task, result in self.results(host) if result.get("diff")]

    def messages(self):
        """Return all that was said to the operator, as one text."""
        said = []
        for play in self.output["plays"]:
            for task in play["tasks"]:
                said += [
                    str(turn.get("msg", ""))
                    for result in task["hosts"].values()
                    for turn in _turns(result)
                ]
        return "\n".join(said)


def _turns(result):
    return [result, *result.get("results", [])]


def command(playbook, *arguments):
    """Return the command line of ansible-playbook for a playbook of this checkout.

    :param playbook: its path in the checkout, or its name in an installed collection.
    """
    path = PROJECT / playbook if playbook.endswith(".yml") else playbook
    return [str(BIN / "ansible-playbook"), str(path), *map(str, arguments)]


def site(*arguments, log, environment=None):
    """Run site.yml on the lab's inventory; see :func:`run`."""
    return run("site.yml", *arguments, log=log, environment=environment)


def run(playbook, *arguments, log, timeout_s=600, environment=None, folder=PROJECT):
    """Run a playbook to its end and return the Run.

    :param playbook: its path in the checkout, or its name in an installed collection.
    :param log: a file that takes the address of a host for each command sent to it.
    :param folder: where it is run, which is where Ansible looks for its settings.
    """
    log = Path(log)
    log.unlink(missing_ok=True)
    finished = subprocess.run(
        command(str(playbook), *arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
        env={
            **os.environ,
            **(environment or {}),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_SSH_EXECUTABLE": str(_COUNTING_SSH),
            "GPUNODE_TEST_SSH_LOG": str(log),
        },
    )
    text = finished.stdout + finished.stderr
    start = finished.stdout.find("{")
    assert start >= 0, f"ansible-playbook said nothing that can be read: {text}"
    output = json.JSONDecoder().raw_decode(finished.stdout[start:])[0]
    trips = log.read_text().split() if log.exists() else []
    return Run(finished.returncode, output, text, trips)


def site_killed_at(task, delay_s, *arguments):
    """Run site.yml and kill it, and all it started here, ``delay_s`` into the named task.

    What it has set going on the hosts is not killed: that is what happens when
    an operator's machine goes away.
    """
    process = subprocess.Popen(
        command("site.yml", *arguments),
        cwd=PROJECT,
        text=True,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "default", "PYTHONUNBUFFERED": "1"},
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("TASK [") and task in line:
            time.sleep(delay_s)
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert task in said[-1], f"the run never came to {task!r}: {''.join(said)}"


def wait_for_reboot(lab, name, boot_id, timeout_s=60):
    """Wait until a node answers with another boot id and has started all its units."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = lab.ssh(
            name, "cat /proc/sys/kernel/random/boot_id && systemctl is-system-running --wait"
        )
        if answer.returncode == 0 and not answer.stdout.startswith(boot_id.strip()):
            return
        time.sleep(0.5)
    raise AssertionError(f"{name} did not come back within {timeout_s} s")


def fingerprint(lab, name):
    """Return what is left on a node by gpunode, in a form that two equal hosts share."""
    answer = lab.ssh(name, f"sudo sh -c '{_FINGERPRINT}'")
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


_FINGERPRINT = """
find /opt /srv /etc/systemd /etc/gpunode /var/lib/gpunode -xdev \
    -not -path "*/pkgs/*" -not -path "*/pkgs" -not -name "*.pyc" -not -name __pycache__ \
    -printf "%p %y %u:%g %m %l\\n" 2>/dev/null | sort
sha256sum /etc/systemd/system/ob_cuda.* /var/lib/gpunode/*.json
getent passwd ob_cuda
"""
