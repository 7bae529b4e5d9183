# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an action plugin does first for a host: resolve what is wanted, and look once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts

from .. import wanted_state
from ..inputs import answers
from . import host_plan, probe


class NoFacts(Exception):
    """A host was asked, and gave no facts.

    :ivar answer: what an action plugin returns of that, with a ``msg``.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("msg", "the host gave no facts")))
        self.answer = answer


class Looked(NamedTuple):
    """What is wanted of a host, and what was seen of it."""

    asked: host_plan.Wishes
    facts: facts_shape.Facts


def at(action: Any, site: wanted_state.Site, task_vars: Mapping[str, Any]) -> Looked:
    """Look at the host that an action plugin works for.

    :param action: the ActionBase.
    :param site: its Site.
    :raises Refusal: the host is not reached as root.
    :raises NoFacts: it answers something else than facts, or that it could not look.
    """
    asked = host_plan.wishes(site, task_vars)
    seen = probe.node_info(action, asked.probe(), task_vars)
    if seen.get("is_root") is False:
        raise accounts.not_root()
    if "gpunode_facts" not in seen:
        raise NoFacts(answers.passed_on(seen))
    try:
        facts: Any = answers.facts(seen)
    except ValueError as error:
        raise NoFacts({"msg": urls.shown(str(error))}) from None
    if site.hangs_on_host():
        site.look(facts)
        asked = host_plan.wishes(site, task_vars)
    return Looked(asked, facts)
