#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Look at a host once and say everything the plan needs
version_added: "0.1.0"
description:
  - Returns the general facts under the names Ansible's own facts use, disk room, listening ports
    with their owner, GPUs, driver, kernels and RDMA, and for every receipt whether the host still
    matches it.
  - Changes nothing but caches of its own below C(/var/cache/gpunode). A tool that is missing is an
    empty answer, never a failure, and types never change.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
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
  units:
    description: Units to say the file of.
    type: list
    elements: str
    default: []
  root:
    description:
      - The folder that stands for C(/) in what is said of GPUs, driver, kernels and RDMA, such as
        a mounted image. Where it is another one than C(/) no program of it is run.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Look at the host
  gpunode.stack.node_info:
    paths: [/opt/miniforge3]
    users: [www-data]
  register: probe
"""

RETURN = r"""
is_root:
  description: C(false) where the module does not run as root; nothing else is said then.
  returned: when it does not run as root
  type: bool
  sample: false
gpunode_facts:
  description: The facts, described in docs/architecture.md and docs/facts.md.
  returned: success
  type: dict
  sample:
    distribution: Debian
    distribution_major_version: "12"
    own_kernel: true
    receipts: {conda_env: {digest: 2c26b46b, drift: []}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import look
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    try:
        facts = look.facts(**module.params)
    except Refusal as refusal:
        if refusal is accounts.not_root():
            module.exit_json(changed=False, is_root=False)
        module.fail_json(msg=str(refusal))
    module.exit_json(changed=False, gpunode_facts=facts)


if __name__ == "__main__":
    main()
