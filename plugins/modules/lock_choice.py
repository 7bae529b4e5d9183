#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/lock_choice.py.

DOCUMENTATION = r"""
module: lock_choice
short_description: Choose one host for each lock that is to be solved
version_added: "0.2.0"
description:
  - Each lock is solved by the first host that asks for it, in the order given.
  - Fails where a host refused its own, two environments would have different specs solved into
    one file, or an environment to be upgraded is none with packages; every refusal of the fleet is
    in that one message.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
  - gpunode.stack.fleet
options:
  orders:
    description: The C(orders) that M(gpunode.stack.lock_orders) returned, by host.
    type: dict
    required: true
  refusals:
    description: The C(refusals) that M(gpunode.stack.lock_orders) returned, of all hosts.
    type: list
    elements: str
    default: []
  upgrade:
    description: Names of environments that M(gpunode.stack.lock_orders) was told to solve again.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Say who solves what
  gpunode.stack.lock_choice:
    orders: {node1: "{{ __lock_orders.orders }}"}
  run_once: true
  register: __lock_choice
"""

RETURN = r"""
solves:
  description: The names of the environments that a host is to solve, by host.
  returned: success
  type: dict
  sample: {node1: [web]}
msg:
  description: What is solved where and why, for people.
  returned: success
  type: str
"""
