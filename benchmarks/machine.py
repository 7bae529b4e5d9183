"""What was measured on: figures of two machines do not compare."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

_GIB = 1 << 20
_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s\\;]+)", re.MULTILINE)


def describe(pins, proc=Path("/proc")):
    """Return {what: text} of this machine and of the programs that are compared.

    :param pins: the requirements file of what runs are held against.
    :param proc: the folder that the kernel tells of itself in.
    """
    peer = dict(_PIN.findall(pins.read_text(encoding="utf-8")))
    return {
        "processor": processor((proc / "cpuinfo").read_text(encoding="utf-8")),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": memory((proc / "meminfo").read_text(encoding="ascii")),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ansible-core": importlib.metadata.version("ansible-core"),
        "pyinfra": peer["pyinfra"],
        "load before": load((proc / "loadavg").read_text(encoding="ascii")),
    }


def processor(cpuinfo):
    """Return the name of the first processor, as the kernel has it."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else f"{platform.machine()}, without a name"


def memory(meminfo):
    """Return the size of the memory, in GiB."""
    found = re.search(r"^MemTotal:\s*(\d+) kB$", meminfo, re.MULTILINE)
    return f"{int(found[1]) / _GIB:.1f} GiB"


def load(loadavg):
    """Return how many processes wanted to run in the last minute: quiet is below one."""
    return loadavg.split()[0]
