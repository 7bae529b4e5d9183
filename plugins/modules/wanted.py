#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The work is done on the controller, in plugins/action/wanted.py.

DOCUMENTATION = r"""
module: wanted
short_description: Turn a component's variables into its complete wanted state
version_added: "0.1.0"
description:
  - Reads what the variables name on the controller (lock files, application folders) and resolves
    it to digests, texts and paths, so that the module that follows needs nothing else.
  - Runs on the controller and costs no round trip.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes.read_only
options:
  component:
    description: The component, which is also the name of its role.
    type: str
    required: true
    choices: [miniforge, conda_env, gunicorn_app]
"""

EXAMPLES = r"""
- name: State what is wanted
  gpunode.stack.wanted:
    component: conda_env
  register: __conda_env_wanted
"""

RETURN = r"""
state:
  description: The wanted state, for the module of the component.
  returned: success
  type: dict
  sample: {dir: /opt/gpunode/envs, environments: []}
digest:
  description: sha256 over the wanted state and the component's own files, for the receipt.
  returned: success
  type: str
  sample: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
present:
  description: Names of the things that are to be in place.
  returned: success
  type: list
  elements: str
  sample: [ob_cuda]
absent:
  description: Names of the things that are to be removed.
  returned: success
  type: list
  elements: str
  sample: []
"""
