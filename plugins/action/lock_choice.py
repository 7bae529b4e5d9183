# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import spec


class ActionModule(ActionBase):
    """Chooses who solves what; see the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "orders": {"type": "dict", "required": True},
                "refusals": {"type": "list", "elements": "str", "default": []},
                "unreachable": {"type": "list", "elements": "str", "default": []},
                "upgrade": {"type": "list", "elements": "str", "default": []},
            }
        )
        orders = wanted_state.plain(arguments["orders"])
        solves, disagreements = spec.choose(orders)
        unknown = spec.unknown(orders, arguments["upgrade"])
        refusals = [*arguments["refusals"], *map(str, [*disagreements, *unknown])]
        if refusals:
            raise AnsibleActionFail(urls.shown("\n".join(refusals)))
        return {
            "changed": False,
            "solves": solves,
            "msg": urls.shown(spec.announcement(orders, solves, arguments["unreachable"])),
            # As ansible.builtin.debug does: the message is what the task is for.
            "_ansible_verbose_always": True,
        }
