# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state


class ActionModule(ActionBase):
    """Resolves one component's variables on the controller; see the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "component": {
                    "type": "str",
                    "required": True,
                    "choices": list(wanted_state.COMPONENTS),
                }
            }
        )
        site = wanted_state.site_of(task_vars, self._templar)
        try:
            component = arguments["component"]
            state = site.wanted(component)
            return {
                "changed": False,
                "state": state,
                "digest": site.digest(component),
                "present": wanted_state.COMPONENTS[component].present(state),
                "absent": wanted_state.COMPONENTS[component].absent(state),
                # A mirror's or proxy's address may carry a password; the state stays usable.
                "_ansible_no_log": bool(urls.passwords(json.dumps(state))),
            }
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
