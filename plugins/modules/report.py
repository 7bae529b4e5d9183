#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/report.py.

DOCUMENTATION = r"""
module: report
short_description: Show the plans of a fleet, alike hosts together
version_added: "0.1.0"
description:
  - Prints what is to be done on which hosts and why, or what runs on them where nothing is.
  - Says in RV(stops) whether the run is to end there, since hosts are refused; every refusal of the
    fleet is in one message.
  - With O(refused=leave_out) that is where all of them are.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
  - gpunode.stack.fleet
options:
  plans:
    description: The C(plan) that M(gpunode.stack.plan) returned, by host.
    type: dict
    required: true
  json:
    description:
      - Where to write the plans as JSON, on the controller; relative to the inventory's folder or
        absolute.
      - Empty to write none.
    type: str
    default: ""
  refused:
    description: Whether to V(stop) where a host is refused, or to V(leave_out) it and go on.
    type: str
    default: stop
"""

EXAMPLES = r"""
- name: Say what will be done
  gpunode.stack.report:
    plans: {node1: "{{ __preflight.plan }}"}
  run_once: true
"""

RETURN = r"""
stops:
  description: That the run is to end here.
  returned: where it is
  type: bool
  sample: true
rests:
  description: That nothing is to be done on any host.
  returned: where it is so
  type: bool
  sample: true
msg:
  description: The plans for people.
  returned: always
  type: str
"""
