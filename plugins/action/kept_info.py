# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import releases


class ActionModule(ActionBase):
    """Tells the host which folders to look into; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        self.validate_argument_spec({})
        places, refusals = releases.places(wanted_state.variables_of(task_vars, self._templar))
        answer = self._execute_module(module_args=places, task_vars=task_vars)
        result = answers.passed_on(answer, ("changed", "kept"))
        result["refusals"] = [refusal.as_dict() for refusal in refusals]
        result["address"] = str(self._templar.template(task_vars.get("ansible_host", "")))
        return result
