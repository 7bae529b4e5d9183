#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: receipt
short_description: Say on the host that a component is done
version_added: "0.1.0"
description:
  - Writes C(/var/lib/gpunode/<component>.json), readable by root alone, last and atomically.
  - A host without a receipt, with another digest, or that no longer matches the manifest is due.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
options:
  component:
    description: The component whose proof has just succeeded.
    type: str
    required: true
  digest:
    description: Digest of what was asked for.
    type: str
    required: true
  manifest:
    description: What was placed on the host, as entries of module_utils/_node/records/manifest.py.
    type: list
    elements: dict
    required: true
  present:
    description: Names of the things that are in place, as M(gpunode.stack.wanted) returns them.
    type: list
    elements: str
    default: []
  absent:
    description:
      - Names of the things that were removed. All others that were ever placed stay in the receipt,
        so that the plan can name those that nobody asks for any more.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: A receipt is bookkeeping; its content is not shown.
"""

EXAMPLES = r"""
- name: Leave the receipt
  gpunode.stack.receipt:
    component: conda_env
    digest: "{{ __conda_env_wanted.digest }}"
    manifest: "{{ __conda_env_result.manifest }}"
    present: "{{ __conda_env_wanted.present }}"
    absent: "{{ __conda_env_wanted.absent }}"
"""

RETURN = r"""
path:
  description: Where the receipt lies.
  returned: success
  type: str
  sample: /var/lib/gpunode/conda_env.json
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils._node.records import receipts


def main():
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True},
            "digest": {"type": "str", "required": True},
            "manifest": {"type": "list", "elements": "dict", "required": True},
            "present": {"type": "list", "elements": "str", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    asked = module.params
    changed = receipts.settle(
        asked["component"],
        asked["digest"],
        asked["manifest"],
        asked["present"],
        asked["absent"],
        module.check_mode,
    )
    module.exit_json(changed=changed, path=receipts.path_of(asked["component"]))


if __name__ == "__main__":
    main()
