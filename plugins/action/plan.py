# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan, probe

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
        except Refusal as refusal:
            return {"changed": False, **host_plan.refused(refusal, address)}
        asked = host_plan.wishes(site, task_vars)
        seen = probe.node_info(self, asked.probe(), task_vars)
        if seen.get("is_root") is False:
            return {"changed": False, **host_plan.refused(accounts.not_root(), address)}
        if "gpunode_facts" not in seen:
            return {"failed": True, **answers.passed_on(seen)}
        try:
            facts = answers.facts(seen)
        except ValueError as error:
            raise AnsibleActionFail(urls.shown(str(error))) from None
        if site.hangs_on_host():
            site.look(facts)
            asked = host_plan.wishes(site, task_vars)
        answer = urls.shown_in(
            host_plan.plan(
                asked,
                facts,
                address,
                is_controller=self._connection.transport == "local",
            )
        )
        expected = arguments["expect_converged"]
        if asked.expect_converged if expected is None else expected:
            self._refuse_unfinished(answer, arguments["components"])
        return {"changed": False, **answer}

    def _refuse_unfinished(self, answer, components):
        """Fail where something is still due after a run, which check mode is none of."""
        unfinished = host_plan.unfinished(answer, components)
        if unfinished and not self._task.check_mode:
            raise AnsibleActionFail(urls.shown(unfinished))
