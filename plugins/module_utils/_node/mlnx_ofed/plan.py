# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what was seen of a host to the wanted RDMA stack: what is done, and in which order.

What may fail without harm comes first: the bundle is fetched, looked into and held against the
host, or all packages are. The exchange follows, and then what has the stack at boot and now.
Modules that are loaded stay until openibd is restarted or the host is rebooted.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from ..rdma import openibd_restart
from ..steps import Step
from ..system import text_files
from . import observe, openibd
from .method import Method


class Plan(NamedTuple):
    """What there is to do.

    :ivar preparing: what is done beside the stack that is in use.
    :ivar exchanging: what takes the place of the stack that is there.
    :ivar running: what has the stack at boot and now, as far as it can be.
    :ivar diff: the differences of the files that change, see steps.diff.
    """

    preparing: list[Step]
    exchanging: list[Step]
    running: list[Step]
    diff: list[dict[str, str]]

    @property
    def steps(self) -> list[Step]:
        """All of it, in order."""
        return [*self.preparing, *self.exchanging, *self.running]

    @property
    def left(self) -> list[Step]:
        """What there is still to do once all was done, if it was in vain."""
        return [*self.exchanging, *self.running]


def plan(method: Method, consent: list[str]) -> Plan:
    """Return what there is to do, by a way to the wanted stack.

    :param consent: names of gpunode_consent.
    """
    pins = method.pins(method.seen.packages)
    # An exchange always changes them, and what it brings is not known before it.
    stale = list(pins) if method.exchanges else text_files.stale(pins, method.seen.files)
    diff = [
        text_files.diff(path, pins[path], method.seen.files[path])
        for path in ([] if method.exchanges else stale)
    ]
    running = [
        *([] if method.exchanges else method.completing()),
        *method.clearing(),
        *_holding(method, stale),
        *_at_boot(method),
        *_restarting(method, consent),
    ]
    return Plan(method.preparing(), method.exchanging(), running, diff)


def _holding(method: Method, stale: list[str]) -> list[Step]:
    if not stale:
        return []
    words = f"hold the packages of the RDMA stack by {', '.join(stale)}"
    return [Step(words, functools.partial(_hold, method))]


def _hold(method: Method) -> None:
    # An exchange has brought packages that nobody saw before it.
    text_files.put_all(method.pins(observe.packages(method.node.tree)))


def _at_boot(method: Method) -> list[Step]:
    """Return the step that has openibd start at boot; an exchange does so itself."""
    if method.exchanges or not method.seen.starts_not:
        return []
    return [Step(f"enable {openibd.UNIT}", functools.partial(openibd.enable, method.node))]


def _restarting(method: Method, consent: list[str]) -> list[Step]:
    """Return the step by which modules on disk come into memory; with consent where some are."""
    if not method.exchanges and method.has_openibd and openibd_restart.starts(method.facts):
        return [Step("start openibd", functools.partial(openibd.start, method.node))]
    others = method.exchanges or method.found["stale"]
    changes = openibd_restart.exchanges_loaded(
        method.facts, others, method.lacking_core, method.is_in_dkms
    )
    is_the_way = openibd_restart.is_the_way(method.wanted["kind"], method.facts, consent)
    restarts = method.has_openibd and is_the_way
    if not (changes and restarts and openibd_restart.CONSENT in consent):
        return []
    return [Step("restart openibd", functools.partial(_restart, method))]


def _restart(method: Method) -> None:
    method.warnings += openibd.restart(method.node)
