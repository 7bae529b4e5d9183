# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.nccl import rendezvous


class ActionModule(ActionBase):
    """Gives a host its ranks; see the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, asked = self.validate_argument_spec(
            {
                "backend": {"type": "str", "choices": ["gloo", "nccl"], "required": True},
                "hosts": {"type": "list", "elements": "str", "required": True},
                "gpus": {"type": "list", "elements": "int", "default": []},
                "environment_name": {"type": "str", "default": ""},
                "host": {"type": "str", "default": ""},
                "port": {"type": "int", "required": True},
                "world_size": {"type": "int", "default": 0},
                "timeout": {"type": "int", "required": True},
            }
        )
        first = asked["hosts"][0]
        served = task_vars["hostvars"][first].get("ansible_host", first)
        asked["host"] = asked["host"] or str(self._templar.template(served))
        try:
            site = wanted_state.site_of(task_vars, self._templar)
            site.refuse_unread(task_vars, ["nccl"])
            orders = rendezvous.orders(
                asked, task_vars["inventory_hostname"], task_vars["ansible_forks"]
            )
            return {
                "changed": False,
                "python": rendezvous.python(asked["environment_name"], site.options("conda_env")),
                "orders": orders,
                "peer_memory": rendezvous.wants_peer_memory(site.stack()["peer_memory"]),
            }
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from None
