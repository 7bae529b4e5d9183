# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a host has what is this project's own, whichever component put it there."""

from __future__ import annotations

# What is noted for later runs: receipts, what is kept, what was cut off.
STATE_DIR = "/var/lib/gpunode"
# Where modules put what they need only while they work.
CACHE_DIR = "/var/cache/gpunode"
# What is gone after a reboot.
RUN_DIR = "/run/gpunode"
# What is configured: secrets of applications, and certificates.
ETC_DIR = "/etc/gpunode"
# Where the certificates lie that the controller handed over.
CA_PATH = f"{ETC_DIR}/ca.pem"
