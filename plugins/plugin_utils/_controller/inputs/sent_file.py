# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file of the controller that goes to a host once, where the host says that it lacks it."""

from __future__ import annotations

import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files


def refusals(option, file):
    """Return a Refusal where a file is to be sent that is not there; none for an address or ''.

    :param option: the option that names the file, for the message.
    """
    if not file or "://" in file or os.path.isfile(file):
        return []
    return [
        Refusal(
            f"{option}: {file}",
            "there is no such file on the controller",
            "Name it by its absolute path or relative to the inventory's folder",
        )
    ]


class SendingAction(ActionBase):
    """Runs the module of the same name, and again with the file that it asked for.

    The module returns ``needs``, its path here, and ``sha256``, its digest.

    A host that has the file costs one round trip and no transfer.
    """

    TRANSFERS_FILES = True
    #: The option that names the file, for messages.
    OPTION = ""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        result = self._execute_module(module_args=arguments, task_vars=task_vars)
        if result.get("needs") and not result.get("failed"):
            arguments["file"] = self._send(result["needs"], result["sha256"])
            result = self._execute_module(module_args=arguments, task_vars=task_vars)
        return result

    def _send(self, path, sha256):
        """Copy the file to the host's temporary folder and return its path there."""
        if not os.path.isfile(path):
            raise AnsibleActionFail(
                f"{self.OPTION}: {path}: there is no such file on the controller. Correct it"
            )
        found = files.sha256_of_file(path)
        if found != sha256:
            raise AnsibleActionFail(
                f"{self.OPTION}: {path}: its sha256 is {found}, wanted is {sha256}; nothing "
                "was changed. Do not trust the file; correct the digest only after you know why "
                "it differs"
            )
        shell = self._connection._shell
        folder = shell.tmpdir or self._make_tmp_path()
        return self._transfer_file(path, shell.join_path(folder, os.path.basename(path)))
