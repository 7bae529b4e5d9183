# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import (
    host_plan,
    look,
    probe,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import quick

# This file is read before the run divides among those who work for a host each.
wanted_state.prepare()
probe.prepare()


class ActionModule(ActionBase):
    """Resolves, probes once and plans one host; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "expect_converged": {"type": "bool"},
                "components": {"type": "list", "elements": "str", "default": []},
            }
        )
        address = str(self._templar.template(task_vars.get("ansible_host", "")))
        try:
            site = wanted_state.site_of(task_vars, self._templar)
            asked, facts = look.at(self, site, task_vars)
        except Refusal as refusal:
            return {"changed": False, **host_plan.refused(refusal, address)}
        except look.NoFacts as nothing:
            return {**nothing.answer, "failed": True}
        answer = host_plan.plan(
            asked,
            facts,
            address,
            is_controller=self._connection.transport == "local",
        )
        # In check mode nothing was applied, and what is due is told by the plan.
        if asked.checks and not self._task.check_mode:
            waivers = site.waivers()
            answer["plan"]["checks"] = quick.of_components(asked, facts, answer["plan"], waivers)
        answer = urls.shown_in(answer)
        expected = arguments["expect_converged"]
        if asked.expect_converged if expected is None else expected:
            self._refuse_unfinished(answer, arguments["components"])
        return {"changed": False, **answer}

    def _refuse_unfinished(self, answer, components):
        """Fail where something is still due after a run, which check mode is none of."""
        unfinished = host_plan.unfinished(answer, components)
        if unfinished and not self._task.check_mode:
            raise AnsibleActionFail(urls.shown(unfinished))
