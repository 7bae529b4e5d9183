# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From whatever is found to the wanted RDMA stack: it is looked at, planned, done and proven."""

from __future__ import annotations

from typing import Any

from .. import steps
from ..component.bring import Node
from ..packages import repositories
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from . import apply, note, openibd, package_sets
from .by_archive import ByArchive
from .by_bundle import ByBundle
from .by_distribution import ByDistribution
from .by_repository import ByRepository
from .method import Method
from .observe import Seen, observe
from .plan import plan
from .wanted import Present

_METHODS: dict[str, type[Method]] = {
    "mlnx_ofed": ByBundle,
    "doca": ByRepository,
    "inbox": ByDistribution,
}


def _method_of(wanted: Present) -> type[Method]:
    """Return the way to a wanted stack; DOCA-OFED may be of the distribution's archive."""
    is_archives = wanted["kind"] == "doca" and "address" not in wanted["repository"]
    return ByArchive if is_archives else _METHODS[wanted["kind"]]


def converge(node: Node, asked: dict[str, Any], check_mode: bool) -> Result:
    """Bring the RDMA stack to the wanted state.

    :param node: the bring.Node.
    :param asked: the parameters of the module; what is unsaid does not come here.
    :raises Refusal: it cannot be done; the stack that was there is there.
    """
    wanted: Present = asked["wanted"]
    consent = asked["consent"]
    seen = observe(wanted, node, node.found)
    method = _method_of(wanted)(wanted, seen, node)
    method.refuse(consent)
    needs = [] if check_mode else method.needs()
    if needs:
        return Result(needs=needs)
    found = plan(method, consent)
    changes = steps.sentences(found.steps)
    if check_mode:
        return Result(changes, found.diff, [] if changes else _manifest(method, seen))
    apply.apply(method, found)
    # Where nothing was done, what was seen first is what is there.
    seen = _proven(method) if changes else seen
    return Result(changes, found.diff, _manifest(method, seen), warnings=method.warnings)


def _proven(method: Method) -> Seen:
    """Return what is to be seen of the host after all was done.

    :raises Refusal: it is not what is wanted.
    """
    wanted, node = method.wanted, method.node
    seen = observe(wanted, node, node.survey())
    # Without consent nothing is restarted: that those loaded are others is for the plan to say.
    left = plan(type(method)(wanted, seen, node), []).left
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
