# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of a host as such: whether it answers, what is asked of it, its room, its reboot."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import disk, own_paths

from . import looks
from .check import CRITICAL, ERROR, WARNING, Check, Found, Host

# Of room on a file system, in percent. prometheus/node_exporter, docs/node-mixin/config.libsonnet,
# fsSpaceAvailableCriticalThreshold and fsSpaceAvailableWarningThreshold.
_FULL, _NEARLY_FULL = 3, 5
# Refusals of what another check tells of by itself.
_TOLD = {
    # gpu.*
    "sick-gpu",
    # It is about what a run would interrupt.
    "gpu-in-use",
}


def _refused(host: Host) -> Iterator[Found]:
    for refusal in host.plan["refusals"]:
        if refusal["rule"] not in _TOLD:
            yield Found(f"{refusal['what']}: {refusal['because']}", refusal["remedy"])


def _without_room(host: Host) -> Iterator[Found]:
    yield from _rooms(host, 0, _FULL)


def _with_little_room(host: Host) -> Iterator[Found]:
    yield from _rooms(host, _FULL, _NEARLY_FULL)


def _rooms(host: Host, least: int, below: int) -> Iterator[Found]:
    """Yield the file systems of what this project keeps, by how many percent are left of them."""
    kept = ["/", own_paths.STATE_DIR, own_paths.CACHE_DIR, *host.asked.probe()["paths"]]
    mounts = host.facts["mounts"]
    holding = {row["mount"]: row for row in (disk.mount_of(path, mounts) for path in kept) if row}
    for mount, row in sorted(holding.items()):
        left = 100 * row["size_available"] / row["size_total"] if row["size_total"] > 0 else 100
        if least <= left < below:
            yield Found(f"{mount} has {left:.1f} % of its room left", of=mount)


def _left_over(host: Host) -> Iterator[Found]:
    for component, names in host.plan["unwanted"].items():
        for name in names:
            yield Found(f"{component} {name} is on the host, and in the inventory no more")


CHECKS = (
    Check(
        "host.reached",
        "The host is reached, and lets itself be asked.",
        CRITICAL,
        "none",
        "See whether it runs, and whether ssh reaches it by what the inventory says",
        (),
    ),
    Check(
        "host.answers",
        "The host answers with facts of their shape.",
        CRITICAL,
        "none",
        "See with -vvv what it answers, and whether it has Python 3.9 or later. One that answers "
        "what nobody asked may be in somebody else's hands",
        (),
    ),
    Check(
        "host.asked",
        "What the inventory asks of the host is understood, and can be had there.",
        ERROR,
        "none",
        "Correct the inventory; {plan} says the same",
        (looks.Seen(_refused),),
    ),
    Check(
        "host.waivers",
        "No waiver of the host has ended.",
        ERROR,
        "none",
        "Take it out of gpunode_waivers once the check passes, or give it another day",
        (looks.Seen(lambda host: map(Found, host.ended)),),
    ),
    Check(
        "host.reboot",
        "The host waits for no reboot: what is loaded is what is on disk.",
        ERROR,
        "reboot",
        "Run {site} with gpunode_consent: [reboot], or reboot the host",
        (looks.Rule("reboot", ("reboot-pending",), looks.without_kernel),),
        looks.is_in_stack("reboot"),
        looks.ON_ITS_KERNEL,
    ),
    Check(
        "host.drained",
        "What was stopped for an exchange of the driver runs again.",
        CRITICAL,
        "restart_service",
        "Run {site}, which starts it, or start it with systemctl",
        (looks.Rule("nvidia_driver", ("clients-stopped",)),),
        looks.is_in_stack("nvidia_driver"),
    ),
    Check(
        "host.room",
        f"File systems that hold what is kept here have {_FULL} % of their room left.",
        CRITICAL,
        "none",
        "Free room there: {clean} and journalctl --vacuum-size=500M are where to begin",
        (looks.Seen(_without_room),),
        source="prometheus/node_exporter, NodeFilesystemAlmostOutOfSpace of its mixin",
    ),
    Check(
        "host.little_room",
        f"Those that have that have {_NEARLY_FULL} % left.",
        WARNING,
        "none",
        "Free room there: {clean} and journalctl --vacuum-size=500M are where to begin",
        (looks.Seen(_with_little_room),),
        source="prometheus/node_exporter, NodeFilesystemAlmostOutOfSpace of its mixin",
    ),
    Check(
        "host.leftovers",
        "Nothing is on the host that the inventory spoke of once and no more.",
        WARNING,
        "none",
        "Give it in the inventory with state: absent, then run {site}",
        (looks.Seen(_left_over),),
    ),
)
