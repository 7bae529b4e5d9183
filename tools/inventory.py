"""Refuse an inventory of which Ansible would take something for hosts, or run it, that is neither.

Before Ansible reads it: a run refuses the same, but only after that.
"""

from __future__ import annotations

import sys

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal, refuse
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import (
    inventory_files,
)

try:
    refuse(inventory_files.refusals(word for word in sys.argv[1:] if word != "--inventory"))
except Refusal as refusal:
    sys.exit(str(refusal))
