# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the modules that bring a component of a host to its wanted state."""

from __future__ import annotations


class ModuleDocFragment:
    """One fragment for each option that several of these modules have."""

    DOCUMENTATION = r"""
options:
  wanted:
    description:
      - The wanted state, which M(gpunode.stack.component) makes of the variables of this component.
    type: dict
    required: true
  receipt:
    description:
      - What the receipt says beside what is in place, which is left on the host once the component
        is proven. Without it none is left.
    type: dict
    suboptions:
      digest:
        description: Digest of what was asked for.
        type: str
        required: true
      present:
        description: Names of the things that are to be in place.
        type: list
        elements: str
        default: []
      absent:
        description: Names of the things that are to be removed.
        type: list
        elements: str
        default: []
      asked:
        description: A short digest of each part of what was asked for, by its name for people.
        type: dict
        default: {}
  files:
    description: Where files of the controller lie on the host, by the names that RV(needs) has.
    type: dict
    default: {}
"""

    CONSENT = r"""
options:
  consent:
    description: What may be done to the host that somebody would notice; C(gpunode_consent).
    type: list
    elements: str
    default: []
"""
