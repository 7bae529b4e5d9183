# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hypervisor a host runs on."""

from __future__ import annotations


def detect(tree):
    """Return the hypervisor by the name systemd-detect-virt has for it, '' on bare metal.

    Containers do not count: ``host.own_kernel`` tells those.
    """
    # On bare metal it prints "none" and fails.
    return tree.answer("systemd-detect-virt", "--vm").strip()
