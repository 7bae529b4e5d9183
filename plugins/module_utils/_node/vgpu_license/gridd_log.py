# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why nvidia-gridd got no licence, by what it logs."""

from __future__ import annotations

import re

from ..gpu import gridd

# What the daemon logs where it gets no licence: (pattern, what that means, what to do). The first
# that fits counts, so what says more stands before what says less. Seen in public logs: those of
# fastapi-dls, of MicrosoftDocs/azure-docs#32746, of guests of NVIDIA's cloud service; the words of
# curl are those of its lib/strerror.c.
_REASONS = (
    (
        r"Invalid feature type requested",
        "the daemon does not know the feature type",
        "Say another vgpu_license_feature_type",
    ),
    (
        r"Licensing not supported for GPUs",
        "no GPU of this host can be licensed: none is virtual",
        "Have the hypervisor give it a vGPU, or leave the licence out on this host",
    ),
    (
        r"Unable to fetch the client configuration token",
        "the daemon finds no token",
        f"Look at {gridd.TOKENS}",
    ),
    (
        r"trusted sto(?:re|rage)",
        "the daemon cannot keep what the license server tells it",
        "Remove what is in /var/lib/nvidia/GridLicensing, its trusted store",
    ),
    (
        r"Failed to (?:decode signature from token|read configurations from client configuration)",
        "the daemon cannot read the token",
        "Download it again from the license server, and name it with vgpu_license_token",
    ),
    (
        r"allowed time to process response has expired",
        "the clocks of this host and of the license server differ, or the token is too old",
        "Set the clocks, or download a new token",
    ),
    (
        r"No pool features found for",
        "the license server has no licence of this kind to give",
        "Add licences to the server, or free some that others hold",
    ),
    (
        r"resolve host",
        "the name of the license server is not known here",
        "Mend the name or the DNS of this host",
    ),
    (
        r"connect to server|[Cc]onnection refused|[Tt]imed? ?out|Timeout was reached",
        "the license server does not answer",
        "See that this host reaches it",
    ),
    (
        r"Failed to open file /etc/nvidia/gridd\.conf",
        "the daemon could not read its configuration",
        "Look at /etc/nvidia/gridd.conf",
    ),
    (
        r"Failed to (?:acquire license|register client)",
        "the license server gave no licence",
        "Look at the log of the server",
    ),
    (
        r"Valid GRID license not found",
        "the daemon found no licence",
        "Look at what it was told: /etc/nvidia/gridd.conf",
    ),
)


def reason(log: str) -> tuple[str, str, str]:
    """Return (what it means, what to do, the line) of the log of a daemon that got no licence."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for pattern, means, remedy in _REASONS:
        said = [line for line in lines if re.search(pattern, line)]
        if said:
            # What is not known here may say more than what is.
            word = gridd.last_word(log)
            return means, remedy, word if word.endswith(said[-1]) else said[-1]
    return (
        "the daemon does not say why",
        f"Look at `journalctl -u {gridd.UNIT}`, and at what lies between here and the license "
        "server",
        lines[-1] if lines else "its log is empty",
    )
