# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver's daemons: nvidia-persistenced everywhere, Fabric Manager where NVSwitches are."""

from __future__ import annotations

import functools
import os
from collections.abc import Container, Iterable, Mapping

from ..gpu import fabric_manager, gridd
from ..steps import Step
from ..system import systemd, text_files
from ..system.commands import Run

PERSISTENCED = "nvidia-persistenced.service"
_ALL = (PERSISTENCED, fabric_manager.UNIT, gridd.UNIT)
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
# A unit without [Install] is started by whoever wants it, a rule of udev's, and ends with that;
# systemd.unit(5), StopWhenUnneeded. In a drop-in [Install] counts for `systemctl enable`.
_PERSISTING = """\
ExecStart=
ExecStart={command}

[Unit]
StopWhenUnneeded=no

[Install]
WantedBy=multi-user.target
"""


def wanted_files(
    persistence: bool, own_unit: bool, command: str = ""
) -> dict[str, text_files.TextFile]:
    """Return {path: text_files.TextFile} of what is ours.

    :param persistence: whether nvidia-persistenced is to run at all.
    :param own_unit: whether a .run installed the daemon; a package brings a unit itself.
    :param command: what starts the daemon, where the unit of the package has it persist nothing.
    """
    drop_in = _DROP_IN + (_PERSISTING.format(command=command) if command else "")
    return {
        _unit_path(): text_files.of(_UNIT if persistence and own_unit else None),
        _drop_in_path(): text_files.of(drop_in if persistence else None),
    }


def units(has_switches: bool) -> list[str]:
    """Return the names of the units that are to run.

    :param has_switches: whether the host has NVSwitches.
    """
    return [PERSISTENCED, *([fabric_manager.UNIT] if has_switches else [])]


def states(run: Run) -> dict[str, dict[str, str]]:
    """Return {unit: {property: value}} of the daemons, as systemd has them now."""
    return systemd.show(_ALL, ("ActiveState", "UnitFileState"), run)


def removal_steps(found: dict[str, dict[str, str]], left: Iterable[str], run: Run) -> list[Step]:
    """Return the steps that end the daemons, and leave nothing of ours behind.

    :param found: their :func:`states`.
    :param left: those paths of :func:`wanted_files` where something lies.
    """
    nothing = text_files.of(None)
    removing = [
        Step(text_files.sentence(path, nothing), functools.partial(put, path, nothing, run))
        for path in left
    ]
    return [*ending_steps(_ALL, found, run), *removing]


def ending_steps(names: Iterable[str], found: dict[str, dict[str, str]], run: Run) -> list[Step]:
    """Return the steps that stop units and keep them from being started at boot.

    :param found: their :func:`states`.
    """
    at_work = {"stop": ("ActiveState", "active"), "disable": ("UnitFileState", "enabled")}
    return [
        _telling(verb, name, run)
        for name in names
        for verb, (key, value) in at_work.items()
        if found.get(name, {}).get(key) == value
    ]


def restated(files: Mapping[str, text_files.TextFile], stale: Container[str]) -> dict[str, bool]:
    """Return {unit: whether that changes now} of the units of packages that ours start otherwise.

    Such a unit is enabled by us, be it one that nobody could enable before.

    :param files: {path: TextFile} of :func:`wanted_files`.
    :param stale: the paths of those that are not so.
    """
    path = _drop_in_path()
    text = files[path].text if path in files else None
    return {PERSISTENCED: path in stale} if "\nExecStart=" in (text or "") else {}


def unit_steps(
    names: Iterable[str],
    found: dict[str, dict[str, str]],
    may_start: bool,
    run: Run,
    changed: Mapping[str, bool] | None = None,
) -> list[Step]:
    """Return the steps that enable units and, where they can run, start them.

    :param found: their :func:`states`.
    :param may_start: whether the driver of the daemons' own version is loaded, or will be; a
        daemon of another version does not run with it. Never so on a host without its own kernel.
    :param changed: what :func:`restated` says of them.
    """
    steps, ours = [], changed or {}
    for name in names:
        state = found.get(name, {})
        is_active = state.get("ActiveState") == "active"
        is_enabled = state.get("UnitFileState") == "enabled"
        if not (is_enabled if name in ours else systemd.starts_at_boot(state)):
            steps.append(_telling("enable", name, run))
        if may_start and not is_active:
            steps.append(_telling("start", name, run))
        elif may_start and ours.get(name):
            # It runs as the package has it.
            steps.append(_telling("restart", name, run))
    return steps


def put(path: str, file: text_files.TextFile, run: Run) -> None:
    """Put one of our files, and have systemd read it where it is one of a unit."""
    text_files.put(path, file)
    # Where systemd does not run, as in an image, it will read the file when it starts.
    if path.startswith(systemd.UNIT_DIR) and os.path.isdir("/run/systemd/system"):
        systemd.tell("daemon-reload", run=run)


def _telling(verb: str, name: str, run: Run) -> Step:
    action = functools.partial(systemd.tell, verb, name, timeout_s=_START_S, run=run)
    return Step(f"{verb} {name}", action)


def _unit_path() -> str:
    return os.path.join(systemd.UNIT_DIR, PERSISTENCED)


def _drop_in_path() -> str:
    return os.path.join(systemd.UNIT_DIR, f"{PERSISTENCED}.d", "gpunode.conf")
