#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: miniforge
short_description: Miniforge of a pinned version, and its configuration
version_added: "0.1.0"
description:
  - Installs Miniforge from an installer of a known sha256 to a prefix, or adopts a conda of the
    wanted version that is there already. Another version is updated in place by the installer.
  - Writes C(.condarc) and C(pip.conf) of the installation, for mirrors, a proxy and a CA bundle.
  - Removes an installation that is to be absent, with its caches and what conda noted about it in
    root's home, unless something runs from it or environments of others lie in it.
  - A prefix that holds something else is refused.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The configuration files, without passwords.
"""

EXAMPLES = r"""
- name: Bring Miniforge to that state
  gpunode.stack.miniforge:
    wanted: "{{ wanted }}"
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["install Miniforge 26.7.2-0 in /opt/miniforge3", "write /opt/miniforge3/.condarc"]
manifest:
  description: What is in place, as entries of module_utils/_node/records/manifest.py.
  returned: success
  type: list
  elements: dict
  sample: [{kind: directory, path: /opt/miniforge3, owner: root, group: root, mode: "0755"}]
needs:
  description: Names of files that the host lacks; where there are any, nothing was changed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import converge

_COMPONENT = bring.Component("miniforge", "miniforge", "bring Miniforge to its version", 1800)


def main():
    bring.bring(_COMPONENT, converge.converge, lambda wanted: wanted["prefix"])


if __name__ == "__main__":
    main()
