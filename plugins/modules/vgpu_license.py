#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: vgpu_license
short_description: The licence of a virtual GPU, from a legacy server or by a token
version_added: "0.1.0"
description:
  - Writes the configuration of C(nvidia-gridd), and the client configuration token where one is
    used, and restarts the daemon where it runs with something else or has no licence.
  - Waits until every GPU that can be is licensed. Where that does not come, it fails with what the
    daemon's log says.
  - On a host without a kernel of its own, and where the driver on disk is not yet the loaded one,
    files are written and the daemon is enabled, and nothing is proven.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
options:
  token:
    description: What is in the client configuration token; the action plugin reads it.
    type: str
attributes:
  check_mode:
    support: full
    details: Exact where the driver is installed.
  diff_mode:
    support: full
    details: The configuration, and nothing of a token.
"""

EXAMPLES = r"""
- name: Bring the licence to that state
  gpunode.stack.vgpu_license:
    wanted: "{{ wanted }}"
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["write /etc/nvidia/gridd.conf", "restart nvidia-gridd.service"]
manifest:
  description: What is in place, as entries of module_utils/_node/records/manifest.py.
  returned: success
  type: list
  elements: dict
  sample: [{kind: unit, name: nvidia-gridd.service, active: active, enabled: enabled, mark: null}]
needs:
  description: Names of files that the host lacks; where there are any, nothing was changed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.vgpu_license import converge

_COMPONENT = bring.Component(
    "vgpu_license", "vgpu_license", "bring the vGPU licence to its state", 0
)


def main():
    token = {"type": "str", "no_log": True}
    bring.bring(_COMPONENT, converge.converge, lambda _wanted: gridd.CONFIGURATION, token=token)


if __name__ == "__main__":
    main()
