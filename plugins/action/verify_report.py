# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import datetime
import pathlib

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import report

_WRITERS = {
    "json": report.write_document,
    "junit": report.write_junit,
    "textfile": report.write_textfile,
}


class ActionModule(ActionBase):
    """Shows how a fleet's checks ended, and writes it; see the module of that name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "hosts": {"type": "list", "elements": "str", "required": True},
                "results": {"type": "dict", "required": True},
                "json": {"type": "str", "default": ""},
                "junit": {"type": "str", "default": ""},
                "textfile": {"type": "str", "default": ""},
            }
        )
        at = datetime.datetime.now(datetime.UTC)
        found = {
            name: {key: result[key] for key in ("address", "checks", "plan")}
            for name, result in arguments["results"].items()
            if "checks" in result
        }
        hosts = report.of_fleet(arguments["hosts"], found)
        base = wanted_state.base_of(task_vars, self._templar)
        for option, write in _WRITERS.items():
            if arguments[option]:
                path = pathlib.Path(wanted_state.path_from(base, arguments[option]))
                try:
                    write(path, hosts, at)
                except OSError as error:
                    raise AnsibleActionFail(
                        urls.shown(
                            f"What was verified cannot be written to {path}: {error}. Name another "
                            f"file in verification_{option}."
                        )
                    ) from None
        return {
            "changed": False,
            "failing": report.failing(hosts),
            "msg": urls.shown(report.as_text(hosts)),
            # As ansible.builtin.debug does: the message is what the task is for.
            "_ansible_verbose_always": True,
        }
