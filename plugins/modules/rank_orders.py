#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/rank_orders.py.

DOCUMENTATION = r"""
module: rank_orders
short_description: Give a host its ranks in a sum of torch.distributed
version_added: "0.1.0"
description:
  - Numbers the ranks of all hosts, says which are this host's, where they meet and which Python
    runs them, and refuses what cannot become a meeting. Costs no round trip.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  backend:
    description: What is to sum.
    type: str
    choices: [gloo, nccl]
    required: true
  hosts:
    description: The hosts in the order of their ranks. The first one serves the store.
    type: list
    elements: str
    required: true
  gpus:
    description: How many GPUs each of O(hosts) has. With V(nccl) each GPU is a rank.
    type: list
    elements: int
    default: []
  environment_name:
    description: The environment that has PyTorch. Empty for the host's own C(python3).
    type: str
    default: ""
  host:
    description: The name or address of rank 0. Empty for the address at which Ansible reaches it.
    type: str
    default: ""
  port:
    description: The TCP port of the store.
    type: int
    required: true
  world_size:
    description: How many ranks meet with V(gloo). V(0) for as many as there are hosts.
    type: int
    default: 0
  timeout:
    description: Seconds that ranks wait for each other.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Give each host its rank
  gpunode.stack.rank_orders:
    backend: gloo
    hosts: "{{ ansible_play_hosts_all }}"
    port: 29500
    timeout: 60
  register: __nccl_orders
"""

RETURN = r"""
python:
  description: The Python that is to run the ranks.
  returned: success
  type: str
  sample: /opt/gpunode/envs/train/bin/python
orders:
  description: The ranks of this host, for M(gpunode.stack.all_reduce).
  returned: success
  type: list
  elements: dict
  sample:
    - {backend: gloo, rank: 0, world_size: 2, host: 10.0.0.11, port: 29500, timeout_s: 60,
       device: 0}
peer_memory:
  description: Whether RDMA devices of this host are to reach the memory of its GPUs.
  returned: success
  type: bool
"""
