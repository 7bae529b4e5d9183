# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.nccl import rendezvous


class ActionModule(ActionBase):
    """Judges what the ranks of a fleet found; see the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, found = self.validate_argument_spec(
            {
                "hosts": {"type": "list", "elements": "str", "required": True},
                "orders": {"type": "dict", "required": True},
                "ranks": {"type": "dict", "required": True},
            }
        )
        meeting = rendezvous.Meeting(found["hosts"], found["orders"], found["ranks"])
        refusals = meeting.refusals()
        return {
            "changed": False,
            "failed": bool(refusals),
            "msg": urls.shown("\n".join(map(str, refusals)) or meeting.summary()),
            "gpus": meeting.gpus(),
            # As ansible.builtin.debug does: the message is what the task is for.
            "_ansible_verbose_always": True,
        }
