# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import steps, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import spec
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers


class ActionModule(ActionBase):
    """Solves on the host and writes on the controller; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        order = wanted_state.plain(self._task.args["order"])
        answer = self._execute_module(module_args={"order": order}, task_vars=task_vars)
        if answer.get("failed"):
            return answers.passed_on(answer)
        changes = [f"solve {order['name']} into {order['files'][0]}"]
        result = {"changed": True, "changes": urls.shown_in(changes)}
        if self._task.check_mode:
            return result
        try:
            texts = dict(zip(order["files"], spec.texts(order, answer), strict=True))
        except ValueError as error:
            raise AnsibleActionFail(
                urls.shown(f"Solving {order['name']} gave no lock: {error}.")
            ) from None
        before = {path: _read(path) for path in texts}
        for path, text in texts.items():
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                # What a killed run leaves of the two is told by the digest in the second.
                files.write_text(path, text, owner=None, group=None, mode=0o644)
            except OSError as error:
                raise AnsibleActionFail(
                    urls.shown(
                        f"{path} cannot be written on the controller: {error}. Let it be written "
                        "there and solve once more."
                    )
                ) from None
        return {
            **result,
            "diff": urls.shown_in(
                [steps.diff(path, before[path], text) for path, text in texts.items()]
            ),
            "msg": urls.shown(spec.report(order, list(before.values()), list(texts.values()))),
            # As ansible.builtin.debug does: the message is what the task is for.
            "_ansible_verbose_always": True,
        }


def _read(path):
    return files.read_text(path) if os.path.exists(path) else ""
