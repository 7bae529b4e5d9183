#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The files are written on the controller, in plugins/action/conda_solve.py.

DOCUMENTATION = r"""
module: conda_solve
short_description: Solve the spec of a conda environment into a lock on the controller
version_added: "0.2.0"
description:
  - Has conda build the environment for a while, from the channels named and no others, reads what
    it consists of from conda-meta, and asks pip in it what the pip part adds.
  - The environment is removed in any case. The lock, and the requirements of a pip part, are
    written on the controller when all of it went well.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
options:
  order:
    description: What to solve and where to write it, as M(gpunode.stack.lock_orders) returns it.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    details: Says which files would be written, and solves nothing.
  diff_mode:
    support: full
    details: The lock and the requirements.
"""

EXAMPLES = r"""
- name: Solve them
  gpunode.stack.conda_solve:
    order: "{{ item }}"
  loop: "{{ __lock_orders.orders }}"
"""

RETURN = r"""
changes:
  description: A sentence for each file written; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["solve environment web into /srv/inventory/files/web.lock"]
msg:
  description: The packages added, removed and changed against the files that were replaced.
  returned: success
  type: str
"""

import functools

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import at_work
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import remains, solve
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    transient_unit,
)

# The same unit as for building environments: whoever works on them waits for the other.
_UNIT = "conda_env"
_SETTLE_S = 1800


def main():
    module = AnsibleModule(
        argument_spec={"order": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    order = module.params["order"]
    if module.check_mode:
        module.exit_json(changed=False)
    with (
        at_work.at_work(module, f"solve environment {order['name']}"),
        disk.watched(f"environment {order['name']}", order["node"]["prefix"]),
    ):
        transient_unit.settle(_UNIT, _SETTLE_S)
        remains.clear()
        execute = functools.partial(transient_unit.execute, _UNIT, warn=module.warn)
        result = solve.solve(order, execute)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
