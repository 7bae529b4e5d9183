# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import datetime

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import (
    host_plan,
    look,
    probe,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import (
    quick,
    waivers,
)

# This file is read before the run divides among those who work for a host each.
wanted_state.prepare()
probe.prepare()


class ActionModule(ActionBase):
    """Looks once at a host and checks it; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        self.validate_argument_spec({})
        address = str(self._templar.template(task_vars.get("ansible_host", "")))
        checks, plan = self._checked(task_vars, datetime.date.today())
        return {"changed": False, "address": urls.shown(address), "checks": checks, "plan": plan}

    def _checked(self, task_vars, today):
        """Return (results, plan of the host, or None where it was not looked at)."""
        waived, unread = {}, []
        try:
            site = wanted_state.site_of(task_vars, self._templar)
            try:
                waived = waivers.parsed(site.waivers())
            except Refusal as refusal:
                unread = refusal.each()
            asked, facts = look.at(self, site, task_vars)
        except Refusal as refusal:
            return quick.not_asked([*unread, *refusal.each()]), None
        except AnsibleConnectionFailure as failure:
            return quick.not_reached(str(failure), waived, today), None
        except look.NoFacts as nothing:
            return quick.not_answered(str(nothing), waived, today), None
        # What the plan refuses of them as well is said once.
        said = set(map(str, asked.refusals))
        asked.refusals.extend(one for one in unread if str(one) not in said)
        is_controller = self._connection.transport == "local"
        plan = host_plan.plan(asked, facts, is_controller=is_controller, today=today)["plan"]
        return quick.looked_at(asked, facts, plan, waived, today), urls.shown_in(plan)
