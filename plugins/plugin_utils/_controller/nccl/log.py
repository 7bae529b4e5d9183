# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What NCCL's log says of the way between hosts: GPUDirect RDMA, or a silent fallback."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# NVIDIA/nccl, src/transport/net.cc, sendSetup and recvSetup; before 2.5 "Ring 00 : 15 -> 0". Behind
# the device may stand the rank that proxies for this one; "(PCI)" and "/Shared" may follow.
_CONNECTION = re.compile(
    r"(?P<sender>\d+)(?:\[\w+\])? -> (?P<receiver>\d+)(?:\[\w+\])? \[(?P<direction>send|receive)\] "
    r"via NET/(?P<network>[^/]+)/\d+(?:\(\d+\))?(?P<gdr>/GDRDMA)?"
)
_TCP = "Socket"


@dataclass(frozen=True)
class Connection:
    """One connection to another host, as the process that has it logged it.

    :ivar rank: the rank of that process.
    :ivar direction: "send" or "receive".
    :ivar network: the name of NCCL's network, such as "IB" or "Socket".
    :ivar gdr: whether the network device reaches the GPU's memory itself.
    :ivar line: the line that says so.
    """

    rank: int
    direction: str
    network: str
    gdr: bool
    line: str


def connections(text: str) -> list[Connection]:
    """Return the Connections that a log with NCCL_DEBUG=INFO tells of, in its order."""
    found = []
    for line in text.splitlines():
        match = _CONNECTION.search(line)
        if match:
            end = "sender" if match["direction"] == "send" else "receiver"
            found.append(
                Connection(
                    int(match[end]),
                    match["direction"],
                    match["network"],
                    bool(match["gdr"]),
                    line.strip(),
                )
            )
    return found


def fallbacks(found: Sequence[Connection], peer_memory: bool) -> dict[int, Connection]:
    """Return {rank: Connection} with one connection of each rank that fell back.

    :param found: Connections.
    :param peer_memory: whether network devices are to reach the memory of GPUs themselves.
    """
    fallen = {}
    for rank in sorted({one.rank for one in found}):
        own = [one for one in found if one.rank == rank]
        # GPUs before Ampere without NVLink send through host memory by NCCL's choice: only what
        # they receive tells whether peer memory works (src/graph/paths.cc, ncclTopoCheckGdr).
        telling = [one for one in own if one.direction == "receive"] or own
        worst = [one for one in own if one.network == _TCP]
        if peer_memory:
            worst += [one for one in telling if not one.gdr]
        if worst:
            fallen[rank] = worst[0]
    return fallen


def refusals(
    found: Sequence[Connection], peer_memory: bool, place: Callable[[int], str]
) -> list[Refusal]:
    """Return a Refusal for each kind of fallback, naming its ranks and one line of the log.

    :param found: the Connections of all ranks.
    :param peer_memory: whether network devices are to reach the memory of GPUs themselves.
    :param place: rank -> the words for it, such as "rank 1 (gpu2)".
    """
    if not found:
        return [
            Refusal(
                "NCCL between hosts",
                "no rank logged a connection by network",
                "See that the ranks are on two hosts or more, and that no NCCL_DEBUG_FILE in "
                "/etc/nccl.conf or ~/.nccl.conf leads the log elsewhere",
            )
        ]
    kinds: dict[bool, dict[int, Connection]] = {}
    for rank, one in fallbacks(found, peer_memory).items():
        kinds.setdefault(one.network == _TCP, {})[rank] = one
    return [_refusal(over_tcp, kinds[over_tcp], place) for over_tcp in sorted(kinds, reverse=True)]


def _refusal(
    over_tcp: bool, fallen: Mapping[int, Connection], place: Callable[[int], str]
) -> Refusal:
    ranks = ", ".join(place(rank) for rank in fallen)
    first = next(iter(fallen.values()))
    if over_tcp:
        return Refusal(
            f"NCCL on {ranks}",
            f"it fell back to TCP and said nothing: {first.line}",
            "See that `ibv_devices` lists the RDMA devices on each of these hosts, that their "
            "ports are active (`ibstat`), and that neither NCCL_IB_DISABLE nor NCCL_IB_HCA leaves "
            "them out",
        )
    return Refusal(
        f"NCCL on {ranks}",
        f"{first.network} goes through host memory, without GPUDirect RDMA: {first.line}",
        "See that a peer-memory module is loaded (`lsmod | grep -E 'nvidia_peermem|nv_peer_mem'`) "
        "or that driver and kernel do DMA-BUF, that GPU and RDMA device are near each other "
        "(`nvidia-smi topo -m`, NCCL_NET_GDR_LEVEL), or say gpunode_peer_memory_route: none where "
        "it is not wanted",
    )
