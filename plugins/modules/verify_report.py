#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/verify_report.py.

DOCUMENTATION = r"""
module: verify_report
short_description: Show how the checks of a fleet ended, the worst hosts first
version_added: "0.1.0"
description:
  - Prints what failed on which hosts and what to do about it, alike hosts together.
  - Writes the same for programs where it is asked to. A host without a result counts as failed.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  hosts:
    description: The hosts that were to be checked.
    type: list
    elements: str
    required: true
  results:
    description: What M(gpunode.stack.verify) returned, by host.
    type: dict
    required: true
  json:
    description:
      - Where to write the results as JSON, on the controller; relative to the inventory's folder or
        absolute. docs/verify.schema.json describes it.
      - Empty to write none.
    type: str
    default: ""
  junit:
    description: Where to write them as JUnit, likewise.
    type: str
    default: ""
  textfile:
    description: Where to write them for the textfile collector of Prometheus, likewise.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show how the checks ended
  gpunode.stack.verify_report:
    hosts: [node1]
    results: {node1: "{{ __verification }}"}
  run_once: true
"""

RETURN = r"""
failing:
  description: The hosts on which a check failed that is more than a warning.
  returned: success
  type: list
  elements: str
  sample: [node1]
msg:
  description: How the checks ended, for people.
  returned: always
  type: str
"""
