"""Runs of site.yml that do not come to their end: an operator, a module or the host goes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

from system import playbooks

# Bounds the wait for the place where a run is cut.
_REACHED_WITHIN_S = 300
# The module on the node, which holds the node's lock.
_MODULE = """kill -KILL $(sed 's/.*"pid": \\([0-9]*\\).*/\\1/' /run/gpunode.lock)"""
# Where it is cut before it has set anything going, there is none.
_UNITS = "systemctl kill -s KILL 'gpunode-*.service' || true"
#: What dies on the node, beside the run itself.
WAYS = {
    # The operator's machine goes away.
    "controller": "true",
    # The module dies, and what it has set going goes on.
    "module": _MODULE,
    # All dies, as when the host goes down: the module first, which would go on to its next step.
    "host": f"{_MODULE} && {{ pkill -KILL -x systemd-run; {_UNITS}; }}",
}


def begun(*arguments, playbook="site.yml"):
    """Start a playbook with these arguments, and return its process."""
    return subprocess.Popen(
        playbooks.command(playbook, *arguments),
        cwd=playbooks.PROJECT,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def killed(node, reached, way, *arguments, playbook="site.yml"):
    """Run a playbook on a node, and end it when it has come to a place.

    :param node: a shell.Shell.
    :param reached: a command that succeeds on the node from there on.
    :param way: one of WAYS.
    :param arguments: of the playbook.
    """
    run = begun(*arguments, playbook=playbook)
    watch = f"until {reached}; do sleep 0.01; done >/dev/null 2>&1; {WAYS[way]}"
    # Ahead of all others: some places are passed within milliseconds, by a busy machine too.
    within = f"nice -n -20 timeout {_REACHED_WITHIN_S} bash -c {shlex.quote(watch)}; echo $?"
    done = node.tried(within, _REACHED_WITHIN_S + 20)
    os.killpg(run.pid, signal.SIGKILL)
    told = run.communicate(timeout=30)[0]
    status = done.stdout.strip()
    assert status != "124", f"it never came to {reached!r}: {told}"
    assert status == "0", f"it was over before it could be cut at {reached!r}: {told}"
