# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the modules that say something about all hosts at once."""

from __future__ import annotations


class ModuleDocFragment:
    """What these modules are told of the fleet."""

    DOCUMENTATION = r"""
options:
  unreachable:
    description: Hosts that did not answer.
    type: list
    elements: str
    default: []
"""
