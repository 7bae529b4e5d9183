#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_app
short_description: Bring gunicorn applications of a host to their wanted state
version_added: "0.1.0"
description:
  - Makes the user of each application, places its files as a release folder, writes its socket
    and service units, starts it, and proves that it answers 200 over its address from that release
    and its environment.
  - Before that, a candidate in a unit of its own proves the same on a private socket. What fails
    there touches nothing in service; what fails later is taken back. Either failure says why, and
    ends with what the application logged.
  - A service is restarted when its running process was started from something else than what is
    wanted, and only then; gunicorn is reloaded when its environment was repaired under its workers.
  - Applications that are to be absent are removed first, with all that was ever set up for them.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
  - gpunode.stack.component
options:
  secrets:
    description:
      - Environment variables that nobody but root and the application may read, by application.
    type: json
    default: "{}"
attributes:
  check_mode:
    support: full
    details: Sends nothing.
  diff_mode:
    support: full
    details: The units; the changes are named one by one.
"""

EXAMPLES = r"""
- name: Bring the applications to that state
  gpunode.stack.gunicorn_app:
    wanted: "{{ wanted }}"
    secrets: "{{ gunicorn_app_secrets }}"
"""

RETURN = r"""
changes:
  description: A sentence for each thing that was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create user ob_cuda, write /etc/systemd/system/ob_cuda.service]
manifest:
  description: What is in place, as entries of module_utils/_node/records/manifest.py.
  returned: success
  type: list
  elements: dict
  sample: [{kind: unit, name: ob_cuda.service, active: active, enabled: enabled}]
needs:
  description: Names of files that the host lacks; where there are any, nothing was changed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import converge
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import systemd

_COMPONENT = bring.Component(
    "gunicorn_app", "gunicorn_app", "bring applications to their wanted state", 0
)


def main():
    # One text: as a dict, each of its values would be blanked out of our own answer.
    secrets = {"type": "json", "default": "{}", "no_log": True}
    bring.bring(_COMPONENT, converge.converge, lambda _wanted: systemd.UNIT_DIR, secrets=secrets)


if __name__ == "__main__":
    main()
