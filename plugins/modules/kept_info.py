#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: kept_info
short_description: Say what a host keeps of releases and builds, and which are at work
version_added: "0.1.0"
description:
  - Looks into the folders of the applications and environments that the variables of the host name.
  - An item that is described wrongly is told in C(refusals) and left out; the others are looked at.
  - Changes nothing. What is not there is an empty answer.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  applications:
    description: Name and folder of each application; the action plugin of the same name sets it.
    type: list
    elements: dict
    default: []
  environments:
    description: The folder of environments; the action plugin sets it. Empty where it is not known.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at what the host keeps
  gpunode.stack.kept_info:
  register: __kept
"""

RETURN = r"""
kept:
  description: What module_utils/_node/releases.py found of applications and environments.
  returned: success
  type: dict
  sample:
    applications:
      - name: ob_cuda
        dir: /srv/ob_cuda
        releases: [{id: 2f97e5b0c1d4, placed: 1795385000, intact: true}]
        named: /srv/ob_cuda/releases/2f97e5b0c1d4
        runs: /srv/ob_cuda/releases/2f97e5b0c1d4
    environments:
      - name: ob_cuda
        dir: /opt/gpunode/envs
        link: 0f6a2b1c9d3e
        builds:
          - {id: 0f6a2b1c9d3e, built: 1795384000, bytes: 432013312, own: 98304000, whole: true,
             users: [ob_cuda.service]}
refusals:
  description: What was not looked at, and why.
  returned: always
  type: list
  elements: dict
  sample: []
address:
  description: Where the host is reached.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils._node import releases
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts


def main():
    module = AnsibleModule(
        argument_spec={
            "applications": {"type": "list", "elements": "dict", "default": []},
            "environments": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if not accounts.is_root():
        module.fail_json(msg=str(accounts.not_root()))
    asked = module.params
    found = {
        "applications": releases.applications(asked["applications"]),
        "environments": releases.environments(asked["environments"]),
    }
    module.exit_json(changed=False, kept=found)


if __name__ == "__main__":
    main()
