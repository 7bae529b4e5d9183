#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/all_reduce_report.py.

DOCUMENTATION = r"""
module: all_reduce_report
short_description: Say whether all ranks met and summed, and what kept those away that did not
version_added: "0.1.0"
description:
  - Puts together what the ranks of all hosts found, names each fault once with its ranks, its
    reason and its remedy, and fails where there is one.
  - Of NCCL it reads the log as well; a silent fallback from GPUDirect RDMA is a fault.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  hosts:
    description: The hosts in the order of their ranks.
    type: list
    elements: str
    required: true
  orders:
    description: What M(gpunode.stack.rank_orders) returned, by host.
    type: dict
    required: true
  ranks:
    description: What M(gpunode.stack.all_reduce) returned, by host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say who met
  gpunode.stack.all_reduce_report:
    hosts: [node1, node2]
    orders: {node1: "{{ __nccl_orders }}"}
    ranks: {node1: "{{ __nccl_ranks.ranks }}"}
  run_once: true
"""

RETURN = r"""
msg:
  description: What was proven, or each fault, for people.
  returned: always
  type: str
gpus:
  description: How many GPUs PyTorch sees on each of O(hosts).
  returned: success
  type: list
  elements: int
"""
