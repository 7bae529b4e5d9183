# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import (
    answers,
    sent_file,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import probe


class ActionModule(ActionBase):
    """Brings a host to what is wanted of a component; see the module of the same name."""

    # A folder for files is made once one is sent: most hosts lack none.
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, asked = self.validate_argument_spec(
            {
                "component": {
                    "type": "str",
                    "required": True,
                    "choices": list(registry.COMPONENTS),
                },
                "part": {"type": "str", "choices": ["all", "present", "absent"], "default": "all"},
            }
        )
        component = asked["component"]

        def run(files):
            result = self._execute_module(
                f"gpunode.stack.{component}",
                module_args={**arguments, "files": files},
                task_vars=task_vars,
            )
            # Not what it was asked: there are addresses in that, which may carry passwords.
            return answers.passed_on(result, ("changed", "changes", "diff", "manifest", "needs"))

        try:
            site = wanted_state.site_of(task_vars, self._templar)
            site.refuse_unread(task_vars)
            arguments = site.arguments(component, asked["part"])
            if site.hangs_on_host() and asked["part"] != "absent":
                failed = self._look(site, task_vars)
                if failed:
                    return failed
                arguments = site.arguments(component, asked["part"])
            sendable = registry.COMPONENTS[component].sendable(arguments["wanted"])
            return sent_file.run_with(sendable, run, self._send)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from None

    def _look(self, site, task_vars):
        """Let a site know its host; return the task's result where the host could not be seen."""
        seen = probe.node_info(self, {}, task_vars)
        if seen.get("is_root") is False:
            raise accounts.not_root()
        if "gpunode_facts" not in seen:
            return {"failed": True, **answers.passed_on(seen)}
        try:
            site.look(answers.facts(seen))
        except ValueError as error:
            raise AnsibleActionFail(urls.shown(str(error))) from None
        return None

    def _send(self, path):
        """Copy a file to the host's temporary folder and return its path there."""
        shell = self._connection._shell
        folder = shell.tmpdir or self._make_tmp_path()
        return self._transfer_file(path, shell.join_path(folder, os.path.basename(path)))
