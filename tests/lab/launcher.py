"""The process that keeps one node running: systemd-nspawn, again after each reboot.

Runs in a mount namespace of its own (`unshare --mount --propagation private`)
until the node powers off, and powers it off in order on SIGTERM.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from lab import cgroup, mounts, paths
from lab.command import run

#: systemd-nspawn under --keep-unit ends with this status when the node asks for a reboot.
REBOOT_STATUS = 133
_CGROUP_ROOT = Path("/sys/fs/cgroup")
#: Become the command that follows, in the group whose cgroup.procs is named first.
_IN_GROUP = 'echo 0 >"$0" && exec "$@"'
_CONTROLLERS = ("cpu", "io", "memory", "pids")


def main(arguments):
    """Run a node to its end; returns the exit status of its last systemd-nspawn.

    :param arguments: name of the node's control group, its tree, the machine's
        end of its cable, and the systemd-nspawn command.
    """
    group_name, tree, interface, *nspawn = arguments
    _see_cgroup_v2_only()
    machine = _enter(_CGROUP_ROOT / group_name)
    _forget_other_trees(tree)
    return _serve(nspawn, interface, machine / "cgroup.procs")


def _see_cgroup_v2_only():
    """Put cgroup v2 where systemd looks for it, in this namespace alone."""
    if cgroup.hierarchy() != _CGROUP_ROOT:
        run(["umount", "--recursive", _CGROUP_ROOT])
        run(["mount", "-t", "cgroup2", "cgroup2", _CGROUP_ROOT])


def _enter(group):
    """Move this process into the node's group and return the group for systemd-nspawn.

    Two groups, because one that hands its controllers on may hold no process.
    """
    launcher, machine = group / "launcher", group / "machine"
    launcher.mkdir(parents=True, exist_ok=True)
    machine.mkdir(exist_ok=True)
    (launcher / "cgroup.procs").write_text("0", encoding="ascii")
    for folder in (_CGROUP_ROOT, group.parent, group):
        for controller in _CONTROLLERS:
            _hand_on(folder, controller)
    return machine


def _hand_on(folder, controller):
    """Let a group's children be governed by ``controller``, where it is to be had.

    It is not in v1 hierarchies' hands and not in a container's; a node runs
    without, its units' limits are then accepted but have no effect.
    """
    if controller in (folder / "cgroup.controllers").read_text(encoding="ascii").split():
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
        except OSError as error:
            print(f"lab: {folder} does not hand on {controller}: {error}", flush=True)


def _forget_other_trees(tree):
    """Unmount the other nodes' trees here; each copy would keep theirs from being unmounted."""
    for point in mounts.below(paths.ROOT):
        if Path(point).match(paths.ANY_TREE) and point != tree:
            run(["umount", "--lazy", point])


def _serve(nspawn, interface, procs):
    stopping = False
    child = None

    def power_off(*_):
        nonlocal stopping
        stopping = True
        if child is not None:
            child.terminate()

    signal.signal(signal.SIGTERM, power_off)
    while True:
        # The last run's cable goes with its network namespace, which may take a moment.
        run(["ip", "link", "delete", interface], check=False)
        child = subprocess.Popen(["sh", "-c", _IN_GROUP, procs, *nspawn])
        if stopping:
            child.terminate()
        status = child.wait()
        if stopping or status != REBOOT_STATUS:
            print(f"lab: systemd-nspawn ended with status {status}", flush=True)
            return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
