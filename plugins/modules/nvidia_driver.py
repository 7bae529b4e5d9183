#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver
short_description: The NVIDIA driver, by packages or a .run file, for every kernel on disk
version_added: "0.1.0"
description:
  - Converges from whatever is found. The modules of every kernel that has headers are built before
    anything that is there is touched, so that a build that fails leaves the old driver in place.
  - Nobody who uses a GPU is interrupted without consent, and nothing is ever rebooted here.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
  - gpunode.stack.component.consent
options:
  drain:
    description: Units that are stopped while the driver is exchanged; C(gpunode_drain).
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
- name: Bring the driver to that state
  gpunode.stack.nvidia_driver:
    wanted: "{{ wanted }}"
    consent: [stop_gpu_clients]
    drain: [ob_cuda.service]
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["build the open modules of 580.65.06 for kernel 6.1.0-40-amd64"]
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
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import converge

# A driver's modules take minutes for each kernel.
_COMPONENT = bring.Component(
    "nvidia_driver", "NVIDIA driver", "bring the NVIDIA driver to its version", 3600
)


def main():
    names = {"type": "list", "elements": "str", "default": []}
    bring.bring(
        _COMPONENT, converge.converge, lambda _wanted: "/usr and /var", consent=names, drain=names
    )


if __name__ == "__main__":
    main()
