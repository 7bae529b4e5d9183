"""The lab's control groups, in the machine's cgroup v2 hierarchy."""

from __future__ import annotations

import time
from pathlib import Path

from lab.errors import LabError

_KILL_TIMEOUT_S = 10
_POLL_S = 0.02


def hierarchy():
    """Return where this process sees cgroup v2, or None where it is not mounted."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _device, point, kind, *_rest = line.split()
        if kind == "cgroup2":
            return Path(point)
    return None


def remove(name, timeout_s=_KILL_TIMEOUT_S):
    """Kill every process in the group ``name`` and below it, and remove the group.

    :param name: path below the hierarchy's root.
    :param timeout_s: seconds that they may take to end.
    :raises LabError: processes were still in it so long after they were killed.
    """
    group = hierarchy() / name
    if not group.is_dir():
        return
    (group / "cgroup.kill").write_text("1", encoding="ascii")
    deadline = time.monotonic() + timeout_s
    while "populated 1" in (group / "cgroup.events").read_text(encoding="ascii"):
        if time.monotonic() >= deadline:
            raise LabError(f"{group} still has processes {timeout_s} s after SIGKILL")
        time.sleep(_POLL_S)
    for folder in sorted(group.rglob("*/"), reverse=True):
        _remove_empty(folder, deadline)
    _remove_empty(group, deadline)


def _remove_empty(folder, deadline):
    """Remove an emptied group; the kernel may call it busy for a moment longer."""
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return
