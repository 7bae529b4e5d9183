# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan for an RDMA stack done; an exchange that fails is followed by what was there before."""

from __future__ import annotations

from .. import steps
from ..packages import package_manager
from ..refusal import Refusal
from . import bundle, going_back, note, openibd
from .method import Method
from .plan import Plan


def apply(method: Method, found: Plan) -> None:
    """Do all of a plan.

    :raises Refusal: it failed; what came of the stack that was there is told with it.
    """
    try:
        _prepare(method, found)
        _exchange(method, found)
    finally:
        # A run that was killed may have left what another way or version brings.
        bundle.discard_unpacked(method.wanted["tmpdir"])
        note.discard_coming(method.node.tree)
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
    node = method.node
    if not found.exchanging:
        if method.is_vendors:
            note.end(node.tree, method.own(method.seen.packages.brought))
        return
    # What installs by dpkg itself does not wait for whoever holds its lock.
    package_manager.wait_for_others(found.exchanging[0].sentence, node.execute)
    note.begin(node.tree)
    try:
        steps.run(found.exchanging)
    except (Refusal, OSError) as error:
        going_back.go_back(method, error)
    note.end(node.tree, method.brought())
    method.finished()
    # The service may have come just now, or been disabled by whoever had the stack before.
    if method.is_vendors and openibd.starts_not(node):
        openibd.enable(node)
