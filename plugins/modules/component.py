#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/component.py.

DOCUMENTATION = r"""
module: component
short_description: Bring a host to what its variables ask of a component
version_added: "0.1.0"
description:
  - Turns the variables of the component's role into its wanted state on the controller, with all
    that they name there (lock files, application folders, tokens), and runs the module of the
    component's name on the host.
  - That module proves the effect and leaves the receipt, C(/var/lib/gpunode/<component>.json).
  - A file that the host lacks is sent once the host asks for it. A host that lacks none costs one
    round trip.
  - Where a variable leaves something to the host to decide, as C(workers=auto) of an application
    does, the host is looked at before, with C(gpunode.stack.node_info).
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
options:
  component:
    description: The component, which is also the name of its role.
    type: str
    required: true
    choices:
      - mlnx_ofed
      - nvidia_driver
      - vgpu_license
      - peer_memory
      - miniforge
      - conda_env
      - gunicorn_app
  part:
    description:
      - V(absent) removes the items that are to go, and leaves no receipt; V(present) does all but
        that.
      - For the components C(conda_env) and C(gunicorn_app), whose items come and go one by one.
    type: str
    choices: [all, present, absent]
    default: all
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Bring the environments to their wanted state
  gpunode.stack.component:
    component: conda_env
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["build environment web (12 packages, 3 distributions) in /srv/envs/web-0f6a2b1c9d3e"]
manifest:
  description: What is in place, as entries of module_utils/_node/records/manifest.py.
  returned: success
  type: list
  elements: dict
  sample: [{kind: link, path: /opt/gpunode/envs/web, target: web-0f6a2b1c9d3e}]
"""
