# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Units that use the GPUs, out of the driver's way and back again, and a change of the loaded one.

What ran is noted on the host before anything is stopped and until it runs again: a run that is
killed in between, or a reboot, leaves a note that the next run honours.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable

from ..gpu import clients, drained, held_modules
from ..kernel import kernels, modprobe
from ..refusal import Refusal
from ..system import files, own_paths, systemd
from ..system.commands import Run
from ..system.root import Root

# Those that keep a device open though they do no work on it; see clients.at_work.
DAEMONS = (
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
    "nvidia-gridd.service",
    "nvidia-topologyd.service",
    "nvidia-dcgm.service",
    "dcgm.service",
    "dcgm-exporter.service",
)
_AT_WORK = ("active", "reloading", "activating")
# What systemd stops along with a unit: those that have it in Requires=, BindsTo= or PartOf=, and
# those that it has in PropagatesStopTo= (systemd.unit(5), "Mapping of unit properties to their
# inverses").
_STOPPED_ALONG = ("RequiredBy", "BoundBy", "ConsistsOf", "PropagatesStopTo")
# What they would start again has not been running, all of it.
_GROUPS = (".target", ".slice")
# A service may take its TimeoutStopSec= to end, and to come back as long to say that it is ready.
_PATIENCE_S = 600


def survey(units: Iterable[str], run: Run) -> dict[str, list[str]]:
    """Return {triggers, services}: what has to be stopped for some units to be out of the way.

    What triggers them counts where it is at work itself, be it a socket, a timer or a path, and
    so does what systemd would stop along with them.

    :param units: names of units, as for systemctl.
    :param run: what runs ``systemctl``.
    """
    found, todo = {}, sorted(units)
    while todo:
        states = systemd.show(todo, ("Id", "ActiveState", "TriggeredBy", *_STOPPED_ALONG), run)
        found.update({unit: states.get(unit, {}) for unit in todo})
        related = set().union(*(_related(found[unit]) for unit in todo))
        todo = sorted(name for name in related - found.keys() if not name.endswith(_GROUPS))
    active = {state["Id"] for state in found.values() if _is_at_work(state)}
    services = {unit for unit in active if unit.endswith(".service")}
    return {"triggers": sorted(active - services), "services": sorted(services)}


def sentence(running: dict[str, list[str]]) -> str:
    """Return in words what :func:`drain` does with what :func:`survey` found, '' for nothing."""
    units = running["triggers"] + running["services"]
    return f"stop {', '.join(units)} for the time of the change" if units else ""


def drain(running: dict[str, list[str]], tree: Root, run: Run) -> None:
    """Stop what runs, triggers before services, and see that nobody uses a GPU any longer.

    :param running: what :func:`survey` found.
    :raises Refusal: something could not be stopped, or others use a GPU; all runs again then.
    """
    earlier = drained.noted()
    note = {key: sorted({*earlier[key], *units}) for key, units in running.items()}
    if any(note.values()):
        os.makedirs(own_paths.STATE_DIR, mode=0o755, exist_ok=True)
        files.write_text(drained.note_path(), json.dumps(note))
    try:
        for units in (running["triggers"], running["services"]):
            if units:
                systemd.tell("stop", *units, timeout_s=_PATIENCE_S, run=run)
        left = clients.at_work(clients.clients(tree))
    except systemd.UnitError as error:
        raise _undrained(str(error), "Look at the unit, then run again", run) from error
    if left:
        raise _undrained(
            "; ".join(map(clients.described, left)),
            "End them, or name their units among those to be stopped, then run again",
            run,
        )


def restore(run: Run) -> list[str]:
    """Start what :func:`drain` stopped, and forget the note of it.

    The driver's daemons come first: nothing computes before Fabric Manager is ready. Triggers come
    before the services that they start.

    :returns: those units that are gone meanwhile.
    :raises Refusal: a unit does not start; the note stays, and the next run tries again.
    """
    note = drained.noted()
    units = sorted(note["triggers"] + note["services"], key=lambda name: name not in DAEMONS)
    states = systemd.show(units, ("LoadState", "ActiveState"), run)
    gone = [unit for unit in units if states.get(unit, {}).get("LoadState") == "not-found"]
    failures = []
    for unit in units:
        # A socket does not open where its service runs already, as after a reboot.
        if unit not in gone and not _is_at_work(states.get(unit, {})):
            try:
                systemd.tell("start", unit, timeout_s=_PATIENCE_S, run=run)
            except systemd.UnitError as error:
                failures.append(str(error))
    if failures:
        raise Refusal(
            "start again what ran before the change of the driver",
            "; ".join(failures),
            "Look at the log of the unit, then run again",
        )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(drained.note_path())
    return gone


def reload_modules(tree: Root, run: Run) -> str:
    """Exchange the driver that is loaded for the one on disk; where none is, load that.

    Whoever keeps a device open has been stopped before.

    :returns: '' where it is done; else why not, which a reboot mends. What cannot go as a whole
        stays as a whole.
    """
    there = kernels.loaded_modules(tree)
    loaded = [name for name in held_modules.MODULES if name in there]
    obstacle = _obstacle(tree)
    if obstacle:
        return obstacle
    gone = []
    for name in loaded:
        obstacle = modprobe.rmmod(name, run)
        if obstacle:
            break
        gone.append(name)
    back = gone[::-1] if loaded else ["nvidia"]
    failures = [modprobe.load(name, run) for name in back]
    return next(filter(None, [obstacle, *failures]), "")


def _is_at_work(state: dict[str, str]) -> bool:
    return state.get("ActiveState") in _AT_WORK


def _related(state: dict[str, str]) -> set[str]:
    """Return the names of the units that are to be looked at because of one."""
    relations = ("TriggeredBy", *(_STOPPED_ALONG if _is_at_work(state) else ()))
    return {name for relation in relations for name in state.get(relation, "").split()}


def _undrained(because: str, remedy: str, run: Run) -> Refusal:
    """Start again what was stopped, and return the Refusal that says so."""
    try:
        restore(run)
        back = "What was stopped runs again. "
    except Refusal as refusal:
        back = f"{refusal}. "
    return Refusal("stop who uses the GPUs", because, f"{back}{remedy}")


def _obstacle(tree: Root) -> str:
    """Return what keeps the driver's modules from being unloaded, '' where nothing is seen."""
    left = clients.clients(tree)
    held = map(held_modules.described, held_modules.survey(tree, left))
    return "; ".join([*held, *map(clients.described, left)])
