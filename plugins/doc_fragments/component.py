# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the modules that bring a component of a host to its wanted state."""

from __future__ import annotations


class ModuleDocFragment:
    """One fragment for each option that several of these modules have."""

    DOCUMENTATION = r"""
options:
  wanted:
    description: The wanted state, as M(gpunode.stack.wanted) returns it for this component.
    type: dict
    required: true
"""

    CONSENT = r"""
options:
  consent:
    description: What may be done to the host that somebody would notice; C(gpunode_consent).
    type: list
    elements: str
    default: []
"""

    # One file for each component, which the action plugin of the same name sends.
    FILE = r"""
options:
  file:
    description: Where the file lies on the host that was sent along, once RV(needs) asked for it.
    type: path
"""
