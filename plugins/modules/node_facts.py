#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: Look at a host once and say everything the plan needs
version_added: "0.1.0"
description:
  - Returns the general facts under the names Ansible's own facts use, disk room, listening ports
    with their owner, and for every receipt whether the host still matches it.
  - Changes nothing. A tool that is missing is an empty answer, never a failure, and types never
    change.
author:
  - gpunode contributors (@gpunode)
options:
  paths:
    description: Paths to say the state of.
    type: list
    elements: path
    default: []
  users:
    description: Accounts to say the state of.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: It changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Look at the host
  gpunode.stack.node_facts:
    paths: [/opt/miniforge3]
    users: [www-data]
  register: probe
"""

RETURN = r"""
gpunode_facts:
  description: The facts, described in docs/architecture.md.
  returned: success
  type: dict
  sample:
    distribution: Debian
    distribution_major_version: "12"
    own_kernel: true
    receipts: {conda_env: {digest: 2c26b46b, drift: []}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils import (
    accounts,
    host,
    listening,
    receipts,
)


def collect(module, paths, users):
    """Return all facts of this host; see docs/architecture.md for their shape."""
    return {
        **host.general(module),
        "own_kernel": host.own_kernel(),
        "mounts": host.mounts(),
        "paths": {path: host.path_state(path, receipts.STATE_DIR) for path in paths},
        "users": accounts.survey(users),
        "listening": listening.survey(),
        "receipts": receipts.survey(),
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    facts = collect(module, module.params["paths"], module.params["users"])
    module.exit_json(changed=False, gpunode_facts=facts)


if __name__ == "__main__":
    main()
