# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import conda_env
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import probe


class ActionModule(ActionBase):
    """Compares specs with their locks, on the controller; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {"upgrade": {"type": "list", "elements": "str", "default": []}}
        )
        try:
            site = wanted_state.site_of(task_vars, self._templar)
            site.refuse_unread(task_vars)
            orders, refusals = conda_env.orders(site, arguments["upgrade"]), []
        except Refusal as refusal:
            orders, refusals = [], [str(refusal)]
        if any(order["why"] for order in orders):
            # Who is to solve has to be there.
            answer = probe.node_info(self, {}, task_vars)
            if "gpunode_facts" not in answer:
                return {"failed": True, **answers.passed_on(answer)}
        return {"changed": False, "orders": orders, "refusals": refusals}
