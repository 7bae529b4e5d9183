# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ranks that meet at the store of torch.distributed: who has which, and why one did not come."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs import answers
from ..inputs.wanted_stack import PeerMemory
from . import log as nccl_log

_FIREWALL = (
    "Open TCP port {port} on {first} to all hosts of the run, and between them the ports that they "
    "choose themselves (`sysctl net.ipv4.ip_local_port_range`)"
)

# What a row says of a rank, see module_utils/_node/nccl/all_reduce.py: (type, of what is in it).
_ROW: dict[str, tuple[type, type]] = {
    "rank": (int, int),
    "stage": (str, str),
    "says": (str, str),
    "torch": (str, str),
    "gpus": (int, int),
    "addresses": (list, str),
    "own": (bool, bool),
    "missing": (list, int),
    "log": (list, str),
}
_STAGES = ("torch", "name", "listen", "reach", "store", "meet", "group", "sum", "done")
# What a rank that came so far has to say besides.
_NEEDED = {"reach": ("addresses",), "done": ("torch",)}
# More than any host has, and each one is a rank.
_MOST_GPUS = 64


def orders(asked: Mapping[str, Any], name: str, forks: int) -> list[dict[str, Any]]:
    """Return the orders of a host's ranks, as module_utils/_node/nccl/all_reduce.py wants them.

    :param asked: {backend, hosts, gpus, host, port, world_size, timeout}; hosts by rank.
    :param name: the host.
    :param forks: how many hosts Ansible works on at once.
    :raises Refusal: this cannot become a meeting.
    """
    hosts = asked["hosts"]
    counts, world_size = _ranks(asked)
    _refuse_no_meeting(hosts, name, world_size, forks)
    index = hosts.index(name)
    first = sum(counts[:index])
    return [
        {
            "backend": asked["backend"],
            "rank": first + device,
            "world_size": world_size,
            "host": asked["host"],
            "port": asked["port"],
            "timeout_s": asked["timeout"],
            "device": device,
        }
        for device in range(counts[index])
    ]


def _ranks(asked: Mapping[str, Any]) -> tuple[Sequence[int], int]:
    """Return (how many ranks each host has, how many there are to be of all hosts together).

    With NCCL each GPU is a rank.

    :raises Refusal: NCCL is asked for, and a host has none.
    """
    hosts = asked["hosts"]
    if asked["backend"] == "nccl":
        blind = [host for host, gpus in zip(hosts, asked["gpus"], strict=True) if not gpus]
        if blind:
            raise Refusal(
                f"NCCL on {', '.join(blind)}",
                "PyTorch sees no GPU there",
                "See that `nvidia-smi` lists its GPUs and that PyTorch is built for CUDA "
                "(torch.version.cuda), leave the host out with --limit, or prove the rendezvous "
                "alone with --tags rendezvous",
            )
        return asked["gpus"], sum(asked["gpus"])
    return [1] * len(hosts), asked["world_size"] or len(hosts)


def _refuse_no_meeting(hosts: Sequence[str], name: str, world_size: int, forks: int) -> None:
    if max(world_size, len(hosts)) < 2:
        raise Refusal(
            f"{name} alone",
            "there is nobody for it to meet",
            "Run on two hosts or more",
        )
    if world_size < len(hosts):
        raise Refusal(
            f"nccl_world_size: {world_size}",
            f"the run has {len(hosts)} hosts, each with a rank",
            "Leave it out, or leave hosts out with --limit",
        )
    if forks < len(hosts):
        raise Refusal(
            f"forks: {forks}",
            f"ranks wait for each other, and {len(hosts)} hosts are to meet at once",
            f"Run again with --forks {len(hosts)}",
        )


def python(environment: str, options: Mapping[str, Any]) -> str:
    """Return the path or name of the Python that has PyTorch.

    :param environment: the name of an environment, '' for the host's own Python.
    :param options: the options of conda_env, without prefix.
    """
    return os.path.join(options["dir"], environment, "bin", "python") if environment else "python3"


def wants_peer_memory(peer_memory: PeerMemory | None) -> bool:
    """Return whether RDMA devices are to reach the memory of GPUs.

    :param peer_memory: that part of the wanted stack, None where nothing is said of it.
    """
    return not peer_memory or peer_memory["route"] != "none"


class Meeting:
    """What the ranks of all hosts found.

    :param hosts: the hosts by rank.
    :param orders: {host: what rank_orders returned}.
    :param ranks: {host: rows of all_reduce.take_part}; hosts that were not reached are not in it.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        orders: Mapping[str, Mapping[str, Any]],
        ranks: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        self._hosts = hosts
        self._orders = orders
        sound = {host: _sound(rows, orders[host]) for host, rows in ranks.items() if host in orders}
        self._rows = {row["rank"]: row for rows in sound.values() for row in rows}
        self._host_of = {row["rank"]: host for host, rows in sound.items() for row in rows}
        answer = next(iter(orders.values()))
        self._one = answer["orders"][0]
        self._at = f"{self._one['host']}:{self._one['port']}"
        self._within = f"within {self._one['timeout_s']} s"

    def gpus(self) -> list[int]:
        """Return how many GPUs PyTorch saw on each host, 0 where it was not asked."""
        seen = {self._host_of[rank]: row.get("gpus", 0) for rank, row in self._rows.items()}
        return [seen.get(host, 0) for host in self._hosts]

    def summary(self) -> str:
        """Return what was proven, as one sentence."""
        hosts = ", ".join(sorted(set(self._host_of.values())))
        releases = ", ".join(sorted({row["torch"] for row in self._rows.values()}))
        return (
            f"{len(self._rows)} ranks on {hosts} met at {self._at} and summed with "
            f"{self._one['backend']} (PyTorch {releases})"
        )

    def refusals(self) -> list[Refusal]:
        """Return a Refusal for each fault, causes before what follows from them."""
        found = [
            *self._by_reason("torch", self._no_torch),
            *self._by_reason("name", self._no_name),
            *self._by_reason("listen", self._no_port),
            *self._by_reason("reach", self._not_reached),
            *self._by_reason("store", self._no_store),
            *self._absent(),
            *self._by_reason("group", self._no_group),
            *self._by_reason("sum", self._no_sum),
        ]
        # Rank 0 takes the store with it when it goes: that others lose it follows from the rest.
        found = found or self._by_reason("meet", self._lost)
        if found or self._one["backend"] == "gloo":
            return found
        log = "\n".join(line for row in self._rows.values() for line in row["log"])
        peer_memory = any(answer["peer_memory"] for answer in self._orders.values())
        return nccl_log.refusals(nccl_log.connections(log), peer_memory, self._place)

    def _by_reason(self, stage: str, refusal: Callable[[list[int], str], Refusal]) -> list[Refusal]:
        """Return what a function makes of (ranks, reason), for each reason to end in a stage."""
        reasons: dict[str, list[int]] = {}
        for rank, row in sorted(self._rows.items()):
            if row["stage"] == stage and not row.get("missing"):
                reasons.setdefault(row["says"], []).append(rank)
        return [refusal(ranks, says) for says, ranks in reasons.items()]

    def _place(self, rank: int) -> str:
        if rank in self._host_of:
            return f"rank {rank} ({self._host_of[rank]})"
        if self._one["backend"] == "nccl":
            return f"rank {rank} (of a host that Ansible did not reach)"
        if rank < len(self._hosts):
            return f"rank {rank} ({self._hosts[rank]}, which Ansible did not reach)"
        return f"rank {rank} (no host of this run has it)"

    def _places(self, ranks: Sequence[int]) -> str:
        return ", ".join(map(self._place, ranks))

    def _firewall(self) -> str:
        return _FIREWALL.format(port=self._one["port"], first=self._place(0))

    def _no_torch(self, ranks: Sequence[int], says: str) -> Refusal:
        python = self._orders[self._host_of[ranks[0]]]["python"]
        return Refusal(
            f"PyTorch on {self._places(ranks)}",
            f"{python} does not run it: {says}",
            "Name an environment that has it with nccl_environment, or install python3-torch",
        )

    def _no_name(self, ranks: Sequence[int], says: str) -> Refusal:
        return Refusal(
            f"host {self._one['host']}",
            f"{self._places(ranks)} cannot resolve the name: {says}",
            "Correct nccl_host, or give the name an address in DNS or /etc/hosts of these hosts",
        )

    def _no_port(self, ranks: Sequence[int], says: str) -> Refusal:
        return Refusal(
            f"port {self._one['port']}",
            f"{self._places(ranks)} cannot listen there: {says}",
            f"`ss -ltnp 'sport = :{self._one['port']}'` there says who has it; end that, or choose "
            "another nccl_port",
        )

    def _not_reached(self, ranks: Sequence[int], says: str) -> Refusal:
        row = self._rows[ranks[0]]
        addresses = ", ".join(row["addresses"])
        what = f"{self._at} ({addresses})"
        because = f"{self._places(ranks)} did not reach it {self._within}: {says}"
        server = self._rows.get(0, {})
        if 0 not in self._rows or "own" not in server or server["stage"] == "listen":
            return Refusal(what, f"{because}; {self._place(0)} does not listen", "Mend that first")
        if not server["own"]:
            return Refusal(
                what,
                f"{because}; that is no address of {self._place(0)}",
                "Correct nccl_host: it has to lead to that host",
            )
        if set(row["addresses"]).isdisjoint(server["addresses"]) or row["addresses"][0].startswith(
            ("127.", "::1")
        ):
            return Refusal(
                what,
                f"{because}; on {self._place(0)} the name means {', '.join(server['addresses'])}",
                "Make the name mean the same on all hosts, in DNS or /etc/hosts",
            )
        return Refusal(
            what, f"{because}, though {self._place(0)} listens: a firewall", self._firewall()
        )

    def _no_store(self, ranks: Sequence[int], says: str) -> Refusal:
        return Refusal(
            self._at,
            f"what answers {self._places(ranks)} is not the store of {self._place(0)}: {says}",
            self._same_release()
            or "See that nccl_host leads to that host and that nobody else has nccl_port",
        )

    def _same_release(self) -> str:
        """Return the remedy where the ranks have different releases of PyTorch, else ''."""
        releases = {
            self._host_of[rank]: row["torch"]
            for rank, row in sorted(self._rows.items())
            if "torch" in row
        }
        if len({release.partition("+")[0] for release in releases.values()}) < 2:
            return ""
        said = ", ".join(f"{host} has {release}" for host, release in releases.items())
        return f"Give all hosts the same release of PyTorch: {said}"

    def _absent(self) -> list[Refusal]:
        """Return the Refusal for the ranks that nobody saw and that do not say why themselves."""
        missed = {rank for row in self._rows.values() for rank in row.get("missing") or ()}
        missed |= set(range(self._one["world_size"])) - self._rows.keys()
        silent = sorted(
            rank
            for rank in missed
            if rank not in self._rows or self._rows[rank]["stage"] in ("meet", "done")
        )
        if not silent:
            return []
        met = [rank for rank in sorted(self._rows) if self._rows[rank]["stage"] == "meet"]
        return [
            Refusal(
                self._places(silent),
                f"missing at {self._at} {self._within}"
                + (f", where {self._places(met)} waited" if met else ""),
                f"World size is {self._one['world_size']}: bring up the host or correct "
                "nccl_world_size, --limit and the inventory",
            )
        ]

    def _lost(self, ranks: Sequence[int], says: str) -> Refusal:
        return Refusal(
            self._at,
            f"{self._places(ranks)} lost the store while waiting for the others: {says}",
            self._same_release() or "See what else is said, and run again",
        )

    def _no_group(self, ranks: Sequence[int], says: str) -> Refusal:
        return Refusal(
            f"{self._one['backend']} on {self._places(ranks)}",
            f"the ranks met at {self._at}, but did not connect to each other: {says}",
            self._same_release() or self._firewall(),
        )

    def _no_sum(self, ranks: Sequence[int], says: str) -> Refusal:
        return Refusal(
            f"all_reduce with {self._one['backend']} on {self._places(ranks)}",
            says,
            self._same_release() or self._firewall(),
        )


def _sound(rows: Any, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return those rows of a host that are about its own ranks, and say what they have to.

    Of one that says something else nothing is known, as of one that did not come.

    :param rows: what the host answers.
    :param answer: what rank_orders returned for it.
    """
    own = {order["rank"] for order in answer["orders"]}
    cleaned = answers.cleaned(rows, lines=False)
    return [
        row
        for row in (cleaned if isinstance(cleaned, list) else [])
        if isinstance(row, dict) and _is_sound(row) and row["rank"] in own
    ]


def _is_sound(row: Mapping[str, Any]) -> bool:
    needed = {"rank", "stage", "says", "log", *_NEEDED.get(str(row.get("stage")), ())}
    if "own" in row:
        needed.add("addresses")
    return (
        needed <= row.keys()
        and row["stage"] in _STAGES
        and all(_is_of(row[key], *_ROW[key]) for key in _ROW.keys() & row.keys())
        and 0 <= row.get("gpus", 0) <= _MOST_GPUS
        and bool(row.get("addresses", True))
    )


def _is_of(value: Any, kind: type, inside: type) -> bool:
    is_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    return is_kind and (kind is not list or all(isinstance(part, inside) for part in value))
