#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/lock_orders.py.

DOCUMENTATION = r"""
module: lock_orders
short_description: Say which environments of a host are to be solved into locks
version_added: "0.2.0"
description:
  - Compares what each environment with packages is asked for with what its lock and requirements
    say they were solved for.
  - Reads files of the controller alone. A host with something to solve is visited once, to see
    that it can be reached.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  upgrade:
    description: Names of environments to solve again though their locks are as asked for.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Compare specs and locks
  gpunode.stack.lock_orders:
  register: __lock_orders
"""

RETURN = r"""
orders:
  description: What each environment with packages is solved from and into, and why it is due.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web
      spec: {channels: [conda-forge], packages: [python=3.11], pip: []}
      files: [/srv/inventory/files/web.lock]
      why: [/srv/inventory/files/web.lock is not there yet]
      node:
        conda: /opt/miniforge3
        pip_config: /opt/miniforge3/pip.conf
        prefix: /opt/gpunode/envs/web-0f6a2b1c9d3e
refusals:
  description: A sentence for what cannot be solved as it is asked for.
  returned: success
  type: list
  elements: str
"""
