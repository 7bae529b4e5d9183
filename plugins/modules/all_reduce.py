#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: all_reduce
short_description: Take part in a rendezvous and a sum of torch.distributed
version_added: "0.1.0"
description:
  - Rank 0 serves a TCPStore, all ranks meet at it, and sum a tensor, with Gloo on the CPUs or with
    NCCL on the GPUs.
  - All hosts must run it at once. What each rank found is returned, and judged by
    M(gpunode.stack.all_reduce_report); the module itself does not fail over it.
  - Where systemd runs the host, each rank is a unit of a user without rights.
  - Changes nothing, and leaves no process behind.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  python:
    description: The Python that has PyTorch, by its path or name.
    type: str
    required: true
  orders:
    description: The ranks of this host, as M(gpunode.stack.rank_orders) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Meet and sum
  gpunode.stack.all_reduce:
    python: "{{ __nccl_orders.python }}"
    orders: "{{ __nccl_orders.orders }}"
  register: __nccl_ranks
"""

RETURN = r"""
ranks:
  description: What each rank of the host found, described in module_utils/_node/nccl/all_reduce.py.
  returned: always
  type: list
  elements: dict
  sample:
    - {rank: 0, stage: done, says: "", torch: 2.6.0, gpus: 8, addresses: [10.0.0.11], own: true,
       missing: [], log: []}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils._node.nccl import all_reduce


def main():
    module = AnsibleModule(
        argument_spec={
            "python": {"type": "str", "required": True},
            "orders": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    python, orders = module.params["python"], module.params["orders"]
    ranks = all_reduce.take_part(python, orders, warn=module.warn)
    module.exit_json(changed=False, ranks=ranks)


if __name__ == "__main__":
    main()
