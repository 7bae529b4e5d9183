# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules say of check mode and diff mode."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module's own ``attributes`` say of the same key is added, or stands instead."""

    # Modules that change hosts. Each adds its `support`, and in `details` what is special to it.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Predicts what the run that follows changes, in the same words, and changes nothing.
  diff_mode:
    description: Shows what changes as it was and as it will be. Secrets are never shown.
"""

    # Modules that look at hosts, or decide something on the controller.
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    description: It changes nothing on a host in any mode.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""
