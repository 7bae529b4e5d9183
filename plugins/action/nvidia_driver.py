# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import sent_file


class ActionModule(sent_file.SendingAction):
    """Sends the .run file that a host lacks; see the module of the same name."""

    OPTION = "gpunode_driver_file"
