# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers


class ActionModule(ActionBase):
    """Takes of a host's answer what its ranks found, and nothing else; see the module."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, asked = self.validate_argument_spec(
            {
                "python": {"type": "str", "required": True},
                "orders": {"type": "list", "elements": "dict", "required": True},
            }
        )
        result = self._execute_module(module_args=asked, task_vars=task_vars)
        return answers.passed_on(result, ("changed", "ranks"))
