"""An HTTP proxy that asks for a password, on the lab's own address."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

from lab import process
from lab.errors import LabError

PORT = 3128
USER = "lab"
#: Nothing else that a test reads holds these characters.
PASSWORD = "kept-out-of-sight"
#: Seconds without a byte after which it drops a connection.
_SILENCE_S = 60
_BUFFER = 1 << 20
_START_S = 20
_STOP_S = 5
_POLL_S = 0.05


def url(address, password=PASSWORD):
    """Return the proxy's URL, with user and password in it."""
    return f"http://{USER}:{password}@{address}:{PORT}"


def log(state):
    """Return the path of the proxy's log: a line per connection, with where it led."""
    return state / "proxy.log"


def ensure(address, state):
    """Run the proxy on ``address``; one that runs is kept.

    :param state: the lab's folder, for the proxy's record and log.
    :raises LabError: it does not answer, for instance as the port is taken.
    """
    if process.is_alive(_record(state)) and _answers(address):
        return
    stop(state)
    process.start(
        [
            *(sys.executable, "-m", "proxy", "--hostname", address, "--port", PORT),
            *("--basic-auth", f"{USER}:{PASSWORD}", "--timeout", _SILENCE_S),
            *("--num-acceptors", 1, "--num-workers", 1),
            # With its own sizes it hands on some 5 MB a second.
            *("--server-recvbuf-size", _BUFFER, "--max-sendbuf-size", _BUFFER),
            *("--data-dir", state / "proxy", "--cache-dir", state / "proxy"),
        ],
        log(state),
        _record(state),
    )
    deadline = time.monotonic() + _START_S
    while not _answers(address):
        if not process.is_alive(_record(state)) or time.monotonic() >= deadline:
            stop(state)
            raise LabError(
                f"no proxy runs on {address}:{PORT}; {log(state)} says why. "
                f"`ss -ltnp 'sport = {PORT}'` names who holds the port"
            )
        time.sleep(_POLL_S)


def stop(state):
    """End the proxy, if it runs."""
    process.stop(_record(state), _STOP_S)


def _answers(address):
    with contextlib.suppress(OSError), socket.create_connection((address, PORT), timeout=1):
        return True
    return False


def _record(state):
    return state / "proxy.process"
