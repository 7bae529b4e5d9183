# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import source


class ActionModule(ActionBase):
    """Sends the archives of the releases that a host lacks; see the module of the same name.

    The module says which those are, so that a host which has them costs one
    round trip and no transfer.
    """

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        secrets = wanted_state.plain(arguments.pop("secrets", {}))
        if secrets:
            arguments["secrets"] = json.dumps(secrets)
        result = self._execute_module(module_args=arguments, task_vars=task_vars)
        if result.get("needs") and not result.get("failed"):
            arguments["archives"] = {digest: self._send(digest) for digest in result["needs"]}
            result = self._execute_module(module_args=arguments, task_vars=task_vars)
            if result.get("needs") and not result.get("failed"):
                raise AnsibleActionFail(
                    f"Release {', '.join(result['needs'])} went from the host during this run, and "
                    "nothing was changed: another run is at work there. Run again."
                )
        return result

    def _send(self, digest):
        """Copy a release's archive to the host's temporary folder and return its path there."""
        archive = source.archive_of(digest)
        if not archive.exists():
            raise AnsibleActionFail(
                f"The archive of release {digest} is gone from {archive.parent}. Run again."
            )
        shell = self._connection._shell
        folder = shell.tmpdir or self._make_tmp_path()
        return self._transfer_file(str(archive), shell.join_path(folder, archive.name))
