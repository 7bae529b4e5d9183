# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import releases


class ActionModule(ActionBase):
    """Shows what a fleet keeps; see the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "hosts": {"type": "dict", "required": True},
                "unreachable": {"type": "list", "elements": "str", "default": []},
            }
        )
        return {
            "changed": False,
            "msg": urls.shown(releases.as_text(arguments["hosts"], arguments["unreachable"])),
            # As ansible.builtin.debug does: the message is what the task is for.
            "_ansible_verbose_always": True,
        }
