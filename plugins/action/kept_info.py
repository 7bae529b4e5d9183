# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import releases as kept
from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import releases


class ActionModule(ActionBase):
    """Tells the host which folders to look into; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        self.validate_argument_spec({})
        try:
            said = wanted_state.variables_of(task_vars, self._templar)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from None
        places, refusals = releases.places(said)
        answer = self._execute_module(module_args=places, task_vars=task_vars)
        result = answers.passed_on(answer, ("changed",))
        if answer.get("failed"):
            return result
        try:
            result["kept"] = answers.of_shape(answer, "kept", kept.Kept, "releases")
        except ValueError as error:
            raise AnsibleActionFail(urls.shown(str(error))) from None
        result["refusals"] = [refusal.as_dict() for refusal in refusals]
        result["address"] = str(self._templar.template(task_vars.get("ansible_host", "")))
        return result
