#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: conda_env
short_description: Conda environments that are exactly what their locks say
version_added: "0.1.0"
description:
  - Builds each environment at its final path from an C(@EXPLICIT) lock and pip requirements with
    hashes, and compares it with conda-meta and dist-info. No solver runs, and an environment that
    is as wanted needs no network.
  - A prefix is named after what is in it, is never renamed, and one that a killed run left
    unfinished is built anew. What was changed by hand in a finished one is put right in place.
  - Installs packages of the distribution that environments need, and imports the modules that are
    named before an environment is put into service.
  - Earlier builds are removed, but never one that a running process or a unit in
    C(/etc/systemd/system) lives in. An environment that is to be absent goes with all its builds.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
attributes:
  check_mode:
    support: full
    details: Needs neither network nor solver for it.
  diff_mode:
    support: full
    details: Packages and distributions of each environment that changes.
"""

EXAMPLES = r"""
- name: Bring the environments to that state
  gpunode.stack.conda_env:
    wanted: "{{ wanted }}"
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
needs:
  description: Names of files that the host lacks; where there are any, nothing was changed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import converge

_COMPONENT = bring.Component(
    "conda_env", "conda_env", "bring conda environments to their locks", 1800
)


def main():
    bring.bring(_COMPONENT, converge.converge, lambda wanted: wanted["dir"])


if __name__ == "__main__":
    main()
