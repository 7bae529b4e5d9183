# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    vgpu_license,
)


class ActionModule(ActionBase):
    """Hands the token to the module of the same name, as nothing that is kept or shown has it."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        site = wanted_state.site_of(task_vars, self._templar)
        try:
            if arguments["wanted"].get("token"):
                options = site.options("vgpu_license")
                arguments["token"] = vgpu_license.token_text(options, site)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        return self._execute_module(module_args=arguments, task_vars=task_vars)
