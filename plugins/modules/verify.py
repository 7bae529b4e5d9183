#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/verify.py.

DOCUMENTATION = r"""
module: verify
short_description: Check a host against what is wanted of it
version_added: "0.1.0"
description:
  - Looks at the host once, as M(gpunode.stack.plan) does, and says of each check how it ended.
  - Does not fail where a check does, nor where the host is not reached; both are among the results.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options: {}
"""

EXAMPLES = r"""
- name: Check the host
  gpunode.stack.verify:
  register: __verification
"""

RETURN = r"""
checks:
  description: How each check ended, as docs/verify.schema.json has it.
  returned: success
  type: list
  elements: dict
  sample:
    - check: application.running
      severity: critical
      outcome: failed
address:
  description: Where the host is reached.
  returned: success
  type: str
plan:
  description: The plan of the host, see M(gpunode.stack.plan); none where it was not looked at.
  returned: success
  type: dict
"""
