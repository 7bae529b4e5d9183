"""The local channel over HTTP, on the lab's own address."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
import urllib.request

from lab import process
from lab.errors import LabError

PORT = 8080
#: A file in the served folder whose content tells one channel from another.
NAME_FILE = "channel-name"
_START_S = 10
_STOP_S = 5
_POLL_S = 0.05


def url(address):
    """Return what the channel's server is called."""
    return f"http://{address}:{PORT}"


def log(state):
    """Return the path of the server's log: a line per request, with the asking host's address."""
    return state / "channel.log"


def ensure(served, address, state):
    """Serve the folder ``served`` on ``address`` and return the URL; a server that does is kept.

    :param served: a folder with a NAME_FILE.
    :param state: the lab's folder, for the server's record and log.
    :raises LabError: it does not answer, for instance as the port is taken.
    """
    name = (served / NAME_FILE).read_text(encoding="utf-8")
    if _answer(address) != name:
        stop(state)
        _start(served, address, state, name)
    return url(address)


def stop(state):
    """End the server, if it runs."""
    process.stop(_record(state), _STOP_S)


def _start(served, address, state, name):
    argv = [sys.executable, "-m", "http.server", "--bind", address, "--directory", served, PORT]
    process.start(argv, log(state), _record(state))
    deadline = time.monotonic() + _START_S
    while _answer(address) != name:
        if not process.is_alive(_record(state)) or time.monotonic() >= deadline:
            stop(state)
            raise LabError(
                f"{url(address)} does not serve {served}: {_last_line(log(state))}. "
                f"`ss -ltnp 'sport = {PORT}'` names who holds the port; end it, then run again"
            )
        time.sleep(_POLL_S)


def _answer(address):
    # Straight to the address: a proxy of the machine's knows nothing of the lab.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        opener.open(f"{url(address)}/{NAME_FILE}", timeout=_START_S) as answer,
    ):
        return answer.read().decode(errors="replace")
    return None


def _record(state):
    return state / "channel.process"


def _last_line(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"
