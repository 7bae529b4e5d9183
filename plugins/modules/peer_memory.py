#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: peer_memory
short_description: How RDMA devices reach the memory of GPUs, by a module that really loads
version_added: "0.1.0"
description:
  - Converges from whatever is found. A module is built for every kernel that has headers, and held
    against the driver and the RDMA stack; one that would not load is never installed.
  - Then modules of other routes are unloaded and removed. One that is in use is a refusal.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
  - gpunode.stack.component.consent
options:
  drain:
    description:
      - Units that are stopped while the driver is exchanged; C(gpunode_drain). As the consents do,
        they decide what is loaded when it is peer memory's turn, and matter in check mode.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Bring peer memory to that state
  gpunode.stack.peer_memory:
    wanted: "{{ wanted }}"
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["build nv_peer_mem 1.1-0 for kernel 6.1.0-40-amd64", "load nv_peer_mem"]
manifest:
  description: What is in place, as entries of module_utils/_node/records/manifest.py.
  returned: success
  type: list
  elements: dict
needs:
  description: Names of files that the host lacks; where there are any, nothing was changed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import converge

_COMPONENT = bring.Component("peer_memory", "peer memory", "bring peer memory to its route", 600)


def main():
    names = {"type": "list", "elements": "str", "default": []}
    bring.bring(
        _COMPONENT, converge.converge, lambda _wanted: "/usr and /var", consent=names, drain=names
    )


if __name__ == "__main__":
    main()
