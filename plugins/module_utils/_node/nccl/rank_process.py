# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One rank of an all_reduce.

The text of this file is run on the host by the Python that has PyTorch. It is alone there: nothing
but the standard library and PyTorch.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

#: What a line begins with that is a note, among those of PyTorch and NCCL.
MARK = "gpunode noted "
_ATTEMPT_S = 3
_POLL_S = 0.2
_FAREWELL_S = 5
# PyTorch's own time-outs come first, as far as they come: its errors say more.
_GRACE_S = 5
_ELEMENTS = 1 << 20
_SIOCGIFADDR = 0x8915


class Stopped(Exception):
    """The rank got no further than the stage that it noted last, for a reason that is known."""


class Notes:
    """What a rank found so far, printed each time: a process that hangs cannot be asked.

    :ivar found: {key: value}; ``stage`` is what it was about to do.
    """

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._timer: threading.Timer | None = None

    def add(self, **found: Any) -> None:
        self.found.update(found)
        # At once and as a line of its own, wherever a library stopped in one of its.
        os.write(1, f"\n{MARK}{json.dumps(self.found)}\n".encode())

    def begin(self, stage: str, within_s: float) -> None:
        """Note a stage, and end the process where no other one begins in time.

        The store's client of PyTorch 1.13 waits without end for somebody who answers and is none.
        """
        self.add(stage=stage)
        if self._timer:
            self._timer.cancel()
        self._timer = threading.Timer(within_s, self._give_up, [within_s])
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self, within_s: float) -> None:
        self.add(says=f"nothing came for {within_s} s")
        os._exit(1)


def main() -> None:
    """Be the rank that the order, JSON in the first argument, says: see all_reduce.take_part."""
    order = json.loads(sys.argv[1])
    # It ends whatever becomes of the process that started it.
    signal.alarm(order["limit_s"])
    notes = Notes()
    try:
        _take_part(order, notes)
    except Stopped as stop:
        notes.add(says=str(stop))
    except Exception as error:  # PyTorch raises its C++ errors as RuntimeError and more.
        notes.add(says=(str(error).splitlines() or [repr(error)])[0].rstrip(". "))


def _take_part(order: dict[str, Any], notes: Notes) -> None:
    notes.add(stage="torch")
    import torch
    import torch.distributed as dist

    notes.add(
        torch=torch.__version__,
        gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0,
    )
    within_s = order["timeout_s"] + _GRACE_S
    store, here = _met(order, notes, dist)
    if notes.found["missing"]:
        return
    # Gloo would take the address of the host's own name, often 127.0.1.1.
    interface = interface_of(here)
    if interface:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    notes.begin("group", within_s)
    dist.init_process_group(
        order["backend"],
        store=dist.PrefixStore("group", store),
        rank=order["rank"],
        world_size=order["world_size"],
        timeout=datetime.timedelta(seconds=order["timeout_s"]),
    )
    notes.begin("sum", within_s)
    _sum(order, torch, dist)
    notes.begin("done", within_s)
    store.add("finished", 1)
    if order["rank"] == 0:
        # The store goes with this process.
        deadline = time.monotonic() + _FAREWELL_S
        while store.add("finished", 0) < order["world_size"] and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _met(order: dict[str, Any], notes: Notes, dist: Any) -> tuple[Any, str]:
    """Return (the store, the address here by which ranks reach each other), all having come there.

    Those that have not are noted as missing, and then there may be no such address.
    """
    wait = datetime.timedelta(seconds=order["timeout_s"])
    within_s = order["timeout_s"] + _GRACE_S
    here = ""
    notes.begin("name", within_s)
    deadline = time.monotonic() + order["timeout_s"]
    addresses = resolve(order["host"], order["port"])
    notes.add(addresses=addresses)
    if order["rank"] == 0:
        notes.add(own=any(is_own(address) for address in addresses))
        notes.begin("listen", within_s)
        # By the loopback: that the name leads here is for the other ranks to find out.
        store = _store(dist, "localhost", order["port"], True, wait)
    else:
        notes.begin("reach", within_s)
        here, there = reach(addresses, order["port"], deadline)
        notes.begin("store", within_s)
        store = _store(dist, order["host"], order["port"], False, wait)
        store.set("served", there)
    # Only an answer tells that it is the store: the client of PyTorch 1.13 takes anybody for it.
    store.add(f"rank{order['rank']}", 1)
    notes.begin("meet", within_s)
    notes.add(missing=_missing(store, order["world_size"], deadline))
    if order["rank"] == 0 and not notes.found["missing"]:
        here = store.get("served").decode()
    return store, here


def _sum(order: dict[str, Any], torch: Any, dist: Any) -> None:
    """Sum a tensor of this rank's number over all ranks, and hold it to what that comes to."""
    device = f"cuda:{order['device']}" if order["backend"] == "nccl" else "cpu"
    if device != "cpu":
        torch.cuda.set_device(device)
    tensor = torch.full((_ELEMENTS,), order["rank"] + 1.0, device=device)
    dist.all_reduce(tensor)
    expected = order["world_size"] * (order["world_size"] + 1) / 2
    low, high = tensor.min().item(), tensor.max().item()
    if (low, high) != (expected, expected):
        raise Stopped(f"the sum is {low:g} to {high:g} in place of {expected:g}")


def _store(dist: Any, host: str, port: int, is_master: bool, wait: datetime.timedelta) -> Any:
    """Return the TCPStore of PyTorch's own server: libuv's is not in every build."""
    arguments = (host, port, None, is_master)
    options = {"timeout": wait, "wait_for_workers": False}
    try:
        return dist.TCPStore(*arguments, use_libuv=False, **options)
    except TypeError:
        # PyTorch before 2.2 has no other.
        return dist.TCPStore(*arguments, **options)


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, each once, in the resolver's order.

    :raises Stopped: the name has none.
    """
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Stopped(error.strerror or str(error)) from error
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def is_own(address: str) -> bool:
    """Return whether an address is one of this host: whether it can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def reach(addresses: Sequence[str], port: int, deadline: float) -> tuple[str, str]:
    """Return (own address, address reached) of a TCP connection to the first that answers.

    Rank 0 may still be on its way to listen, so refused connections are tried again.

    :param addresses: the addresses, as text.
    :param port: the TCP port.
    :param deadline: the time.monotonic() at which to give up.
    :raises Stopped: none answered; says why the last one did not.
    """
    why = ""
    while True:
        for address in addresses:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Stopped(why)
            try:
                with socket.create_connection((address, port), min(left, _ATTEMPT_S)) as link:
                    return link.getsockname()[0], address
            except socket.timeout:
                why = why or "no answer"
            except OSError as error:
                why = error.strerror or str(error)
        time.sleep(_POLL_S)


def interface_of(address: str) -> str:
    """Return the name of the interface that has an IPv4 address first, '' where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _index, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return ""


def _missing(store: Any, world_size: int, deadline: float) -> list[int]:
    """Return the ranks that did not come to the store by the deadline.

    A counter is read by adding nothing: waiting for a key throws, and no two releases alike.
    """
    store.add("arrived", 1)
    while store.add("arrived", 0) < world_size:
        if time.monotonic() >= deadline:
            return [one for one in range(world_size) if not store.add(f"rank{one}", 0)]
        time.sleep(_POLL_S)
    return []


if __name__ == "__main__":
    main()
