# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pathlib

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import report
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import (
    report as verify_report,
)


def _text(plans, unreachable):
    """Return the plans for people, and how the checks ended of what a run has changed."""
    checked = {
        host: {"address": plan["address"], "checks": plan["checks"], "plan": None}
        for host, plan in plans.items()
        if plan.get("checks")
    }
    text = report.as_text(plans, unreachable)
    if not checked:
        return text
    return f"{text}\n{verify_report.as_text(checked, 'checks of what was changed: ')}"


class ActionModule(ActionBase):
    """Shows a fleet's plans, and whether the run ends there; see the module of that name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "plans": {"type": "dict", "required": True},
                "unreachable": {"type": "list", "elements": "str", "default": []},
                "json": {"type": "str", "default": ""},
                # Where it is neither, the plans refuse it, which are what is told here.
                "refused": {"type": "str", "default": "stop"},
            }
        )
        plans, unreachable = arguments["plans"], arguments["unreachable"]
        if arguments["json"]:
            asked = wanted_state.path_from(
                wanted_state.base_of(task_vars, self._templar), arguments["json"]
            )
            path = pathlib.Path(asked)
            try:
                report.write(path, report.as_document(plans, unreachable))
            except OSError as error:
                raise AnsibleActionFail(
                    urls.shown(
                        f"The plan as JSON, {path}, cannot be written: {error}. Nothing was "
                        "changed on any host. Name another file in preflight_json."
                    )
                ) from None
        # Whoever fails here has Ansible print the message twice, and the task that it is from.
        follows = {
            "stops": report.stops(plans, arguments["refused"]),
            "rests": report.rests(plans),
        }
        return {
            "changed": False,
            **{key: True for key, holds in follows.items() if holds},
            "msg": urls.shown(_text(plans, unreachable)),
            # As ansible.builtin.debug does: the message is what the task is for.
            "_ansible_verbose_always": True,
        }
