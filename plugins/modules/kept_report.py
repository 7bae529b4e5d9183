#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/kept_report.py.

DOCUMENTATION = r"""
module: kept_report
short_description: Show what a fleet keeps and how to go back to it, alike hosts together
version_added: "0.1.0"
description:
  - Prints the releases and builds that M(gpunode.stack.kept_info) found, which of them are in
    service, and the line to write in the inventory to go back to another one.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
  - gpunode.stack.fleet
options:
  hosts:
    description: What M(gpunode.stack.kept_info) returned, by host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what the hosts keep
  gpunode.stack.kept_report:
    hosts: {node1: "{{ __kept }}"}
  run_once: true
"""

RETURN = r"""
msg:
  description: What is kept, for people.
  returned: always
  type: str
"""
