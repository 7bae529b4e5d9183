#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/plan.py.

DOCUMENTATION = r"""
module: plan
short_description: Say what is to be done on a host, and why, before it is touched
version_added: "0.1.0"
description:
  - Resolves every component wanted on the host, looks at the host once, refuses what cannot work,
    and says which components are due.
  - Costs one round trip and changes nothing.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  expect_converged:
    description:
      - Fail where something is still due. Used after the components were applied.
      - In check mode nothing was applied, so nothing is expected.
      - Where it is not said, the host's variable C(preflight_expect_converged) says it.
    type: bool
  components:
    description: Which of them O(expect_converged) is about. All where it is empty.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Probe the host and plan its components
  gpunode.stack.plan:
  register: __preflight
"""

RETURN = r"""
plan:
  description: The plan of the host, described in docs/architecture.md.
  returned: success
  type: dict
  sample:
    status: changes
    components: {conda_env: {due: true, why: ["no receipt on the host"]}}
    refusals: []
due:
  description: The components that are due, in the order of their application.
  returned: success
  type: list
  elements: str
  sample: [miniforge, conda_env]
absent:
  description: Those of them that are to remove something, which is done first and in reverse order.
  returned: success
  type: list
  elements: str
  sample: []
"""
