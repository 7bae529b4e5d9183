# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver's daemons: nvidia-persistenced everywhere, Fabric Manager where NVSwitches are.

All functions that return steps return [(sentence, action)]; an action that finds its work done,
such as by a package's script, does nothing.
"""

from __future__ import annotations

import functools
import os

from ..gpu import fabric_manager, gridd
from ..system import systemd, text_files

PERSISTENCED = "nvidia-persistenced.service"
_START_S = 300
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
# A .run brings the daemon and no unit for it, but a sample
# (NVIDIA/nvidia-persistenced@502de54ef91e2beef7fc76d386a9ec13cbf2cda5:
# init/systemd/nvidia-persistenced.service.template).
_UNIT = f"""{_MARK}
[Unit]
Description=NVIDIA Persistence Daemon

[Service]
Type=forking
ExecStart=/usr/bin/nvidia-persistenced
ExecStopPost=/bin/rm -rf /run/nvidia-persistenced

[Install]
WantedBy=multi-user.target
"""
# One image serves hosts with and without GPUs. The bus is asked, which is there before any driver:
# /proc/driver/nvidia may come later at boot than this unit, and the daemon loads the driver itself.
_DROP_IN = f"""{_MARK}
[Service]
ExecCondition=/bin/sh -c 'grep -qs 0x10de /sys/bus/pci/devices/*/vendor'
"""


def wanted_files(persistence, own_unit):
    """Return {path: text_files.TextFile} of what is ours.

    :param persistence: whether nvidia-persistenced is to run at all.
    :param own_unit: whether a .run installed the daemon; a package brings a unit itself.
    """
    return {
        _unit_path(): text_files.of(_UNIT if persistence and own_unit else None),
        _drop_in_path(): text_files.of(_DROP_IN if persistence else None),
    }


def units(has_switches):
    """Return the names of the units that are to run.

    :param has_switches: whether the host has NVSwitches.
    """
    return [PERSISTENCED, *([fabric_manager.UNIT] if has_switches else [])]


def removal_steps(run):
    """Return the steps that end the daemons, and leave nothing of ours behind."""
    files = wanted_files(persistence=False, own_unit=False)
    names = (PERSISTENCED, fabric_manager.UNIT, gridd.UNIT)
    return [*ending_steps(names, run), *_settling(files, run)]


def ending_steps(names, run):
    """Return the steps that stop units and keep them from being started at boot."""
    states = systemd.show(names, ("ActiveState", "UnitFileState"), run)
    at_work = {"stop": ("ActiveState", "active"), "disable": ("UnitFileState", "enabled")}
    return [
        (
            f"{verb} {name}",
            functools.partial(systemd.tell, verb, name, timeout_s=_START_S, run=run),
        )
        for name in names
        for verb, (key, value) in at_work.items()
        if states.get(name, {}).get(key) == value
    ]


def unit_steps(names, may_start, run):
    """Return the steps that enable units and, where they can run, start them.

    :param may_start: whether the driver of the daemons' own version is loaded, or will be; a
        daemon of another version does not run with it. Never so on a host without its own kernel.
    """
    states = systemd.show(names, ("ActiveState", "UnitFileState"), run)
    steps = []
    for name in names:
        state = states.get(name, {})
        verbs = []
        if state.get("UnitFileState") != "enabled":
            verbs.append("enable")
        if may_start and state.get("ActiveState") != "active":
            verbs.append("start")
        steps += [
            (
                f"{verb} {name}",
                functools.partial(systemd.tell, verb, name, timeout_s=_START_S, run=run),
            )
            for verb in verbs
        ]
    return steps


def _settling(wanted, run):
    return [
        (text_files.sentence(path, wanted[path]), functools.partial(_put, path, wanted[path], run))
        for path in text_files.stale(wanted)
    ]


def _put(path, file, run):
    text_files.put(path, file)
    # Where systemd does not run, as in an image, it will read the file when it starts.
    if os.path.isdir("/run/systemd/system"):
        systemd.tell("daemon-reload", run=run)


def _unit_path():
    return os.path.join(systemd.UNIT_DIR, PERSISTENCED)


def _drop_in_path():
    return os.path.join(systemd.UNIT_DIR, f"{PERSISTENCED}.d", "gpunode.conf")
