# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From whatever is found to the wanted RDMA stack: it is looked at, planned, done and proven.

An exchange that fails is followed by what was there before.
"""

from __future__ import annotations

from typing import Any

from .. import steps
from ..component.bring import Host
from ..packages import package_manager, repositories
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from . import going_back, note, openibd, package_sets
from .by_bundle import ByBundle
from .by_distribution import ByDistribution
from .by_repository import ByRepository
from .method import Method
from .observe import Seen, observe
from .plan import Plan, plan

_METHODS: dict[str, type[Method]] = {
    "mlnx_ofed": ByBundle,
    "doca": ByRepository,
    "inbox": ByDistribution,
}


def converge(host: Host, asked: dict[str, Any], check_mode: bool) -> Result:
    """Bring the RDMA stack to the wanted state.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/mlnx_ofed.py.
    :raises Refusal: it cannot be done; the stack that was there is there.
    """
    wanted, consent = asked["wanted"], asked["consent"]
    seen = observe(wanted, host, host.found)
    method = _METHODS[wanted["kind"]](wanted, seen, host)
    method.refuse(consent)
    needs = [] if check_mode else method.needs()
    if needs:
        return Result(needs=needs)
    found = plan(method, consent)
    changes = steps.sentences(found.steps)
    if check_mode:
        return Result(changes, found.diff, [] if changes else _manifest(method, seen))
    _apply(method, found)
    # Where nothing was done, what was seen first is what is there.
    seen = _proven(method) if changes else seen
    return Result(changes, found.diff, _manifest(method, seen), warnings=method.warnings)


def _apply(method: Method, found: Plan) -> None:
    """Do all of a plan.

    :raises Refusal: it failed; what came of the stack that was there is told with it.
    """
    try:
        _prepare(method, found)
        _exchange(method, found)
    finally:
        method.tidy()
    steps.run(found.running)


def _prepare(method: Method, found: Plan) -> None:
    """Do what is done beside the stack that is in use; that keeps its repository on failure."""
    try:
        steps.run(found.preparing)
    except (Refusal, OSError):
        going_back.put_sources_back(method)
        raise


def _exchange(method: Method, found: Plan) -> None:
    """Do what takes the place of the stack that is there, and note what came of it."""
    host = method.host
    if not found.exchanging:
        if method.is_vendors:
            note.end(host.tree, method.seen.packages.brought)
        return
    # What installs by dpkg itself does not wait for whoever holds its lock.
    package_manager.wait_for_others(found.exchanging[0].sentence, host.execute)
    note.begin(host.tree)
    try:
        steps.run(found.exchanging)
    except (Refusal, OSError) as error:
        going_back.go_back(method, error)
    note.end(host.tree, method.brought())
    method.finished()
    # The service may have come just now, or been disabled by whoever had the stack before.
    if method.is_vendors and openibd.starts_not(host):
        openibd.enable(host)


def _proven(method: Method) -> Seen:
    """Return what is to be seen of the host after all was done.

    :raises Refusal: it is not what is wanted.
    """
    wanted, host = method.wanted, method.host
    seen = observe(wanted, host, host.survey())
    # Without consent nothing is restarted: that those loaded are others is for the plan to say.
    left = plan(type(method)(wanted, seen, host), []).left
    if left:
        raise Refusal(
            f"RDMA stack {wanted['kind']} {wanted['version']}".rstrip(),
            "after all was done there is still to " + "; to ".join(steps.sentences(left)),
            "Look who else works on this host, and run again",
        )
    return seen


def _manifest(method: Method, seen: Seen) -> list[dict[str, Any]]:
    """Return the entries of what is in place."""
    paths = [*repositories.paths(repositories.RDMA), *package_sets.PATHS]
    texts = [path for path in paths if seen.files[path].text is not None]
    modules = [*seen.cores, *(path for found in seen.modules.values() for path in found)]
    entries = [
        manifest.packages(seen.packages.installed),
        *map(manifest.file, [*texts, *dict.fromkeys(modules)]),
        manifest.absence(note.AT_WORK),
    ]
    if method.is_vendors and seen.has_openibd:
        entries.append(manifest.unit(openibd.UNIT, None, "enabled"))
    if method.is_vendors and seen.symbols:
        entries.append(manifest.file(seen.symbols))
    return entries
