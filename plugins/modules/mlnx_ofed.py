#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: mlnx_ofed
short_description: The RDMA stack of a host, in exactly the wanted version, for every kernel
version_added: "0.1.0"
description:
  - Converges from whatever is found. The bundle of MLNX_OFED, or the packages of DOCA-OFED, are
    fetched and held against what is wanted before anything gives way; an exchange that fails is
    followed by what was there before.
  - Packages of the distribution and of the vendor are kept from replacing each other.
  - Modules that are loaded stay, unless O(consent) allows a restart of openibd and the connection
    to the host does not run over RDMA.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
  - gpunode.stack.component.consent
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: The files, apart from those that follow from what is installed.
"""

EXAMPLES = r"""
- name: Bring the RDMA stack to that state
  gpunode.stack.mlnx_ofed:
    wanted: "{{ wanted }}"
    consent: [restart_openibd]
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["unpack the bundle of MLNX_OFED 24.10-1.1.4.0", "install MLNX_OFED 24.10-1.1.4.0"]
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
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import converge

_COMPONENT = bring.Component("mlnx_ofed", "RDMA stack", "bring the RDMA stack to its version", 3600)


def main():
    consent = {"type": "list", "elements": "str", "default": []}
    bring.bring(_COMPONENT, converge.converge, lambda _wanted: "/usr and /var", consent=consent)


if __name__ == "__main__":
    main()
