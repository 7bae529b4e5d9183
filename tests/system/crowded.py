"""A node with very many processes, sockets and mounts, and a share that does not answer."""

from __future__ import annotations

import contextlib
import json
import shutil
import time

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import probe
from lab.paths import CHECKOUT

FOLDER = "/srv/crowd"
#: The share.
GONE = "/srv/gone"
_PROGRAMS = CHECKOUT / "tests" / "standins" / "crowded"
_UNITS = ("crowd", "gone")
_READY_S = 120


@contextlib.contextmanager
def crowd(lab, node, processes, sockets, mounts):
    """Have so many of each on a node, and a share at GONE that does not answer."""
    for program in _PROGRAMS.glob("*.py"):
        shutil.copy(program, lab.tree(node) / "root")
    commands = [
        f"mkdir -p {FOLDER} {GONE}",
        f"rm -f {FOLDER}/ready",
        "test -e /dev/fuse || mknod /dev/fuse c 10 229",
        f"systemd-run -q --unit=gone python3 /root/silent.py {GONE}",
        "systemd-run -q --unit=crowd -p TasksMax=infinity -p LimitNOFILE=65536 "
        f"python3 /root/crowd.py {FOLDER} {processes} {sockets} {mounts}",
        f"until test -e {FOLDER}/ready; do systemctl is-active -q crowd; sleep 0.2; done",
        f"grep -q {GONE} /proc/mounts",
    ]
    try:
        _as_root(lab, node, f"set -e; {'; '.join(commands)}", _READY_S)
        yield
    finally:
        _as_root(lab, node, f"systemctl stop {' '.join(_UNITS)}", _READY_S)


def look(lab, node):
    """Return (seconds, facts) of a look by the code that the node keeps, from its shell."""
    for with_code in (True, False):
        program = probe.program({}, with_code)
        (lab.tree(node) / "root" / "look").write_text(program, encoding="utf-8")
        began = time.monotonic()
        answer = _as_root(lab, node, f"{probe.command('python3')} < /root/look")
        took_s = time.monotonic() - began
    return took_s, json.loads(answer.splitlines()[-1])["answer"]


def _as_root(lab, node, command, timeout_s=60):
    done = lab.ssh(node, f"sudo sh -c '{command}'", timeout_s=timeout_s)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
