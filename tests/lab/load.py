"""Clients that never ask twice: what they lose is what users would have lost."""

from __future__ import annotations

import collections
import contextlib
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

_SHOWN = 5


@dataclass
class Pressure:
    """What clients sent to an address, and what became of it; it may be read at any moment."""

    #: Requests that were begun, one that could not connect among them.
    sent: int = 0
    #: Connections that were opened.
    opened: int = 0
    #: {body of an answer: how many were it}; only whole answers of status 200 count.
    answers: collections.Counter = field(default_factory=collections.Counter)
    #: One sentence for each request without such an answer.
    lost: list = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def answered(self):
        """Requests that got a whole answer of status 200."""
        return self.answers.total()

    def more(self, count, timeout_s=60):
        """Wait until ``count`` more requests have been answered or lost; see :meth:`until`."""
        goal = self._ended + count
        self.until(lambda: self._ended >= goal, timeout_s)

    def until(self, condition, timeout_s=60):
        """Wait until ``condition()`` holds, which is asked after each request.

        :raises AssertionError: it did not within ``timeout_s``.
        """
        with self._changed:
            holds = self._changed.wait_for(condition, timeout_s)
        assert holds, f"what was waited for did not come within {timeout_s} s; {self}"

    def __str__(self):
        shown = "".join(f"\n  {sentence}" for sentence in self.lost[:_SHOWN])
        return (
            f"{self.sent} requests on {self.opened} connections, {self.answered} answered, "
            f"{len(self.lost)} lost{shown}"
        )

    @property
    def _ended(self):
        return self.answered + len(self.lost)

    def _count(self, *, sent=0, opened=0, body=None, loss=None):
        with self._changed:
            self.sent += sent
            self.opened += opened
            if body is not None:
                self.answers[body] += 1
            if loss is not None:
                self.lost.append(loss)
            self._changed.notify_all()


@contextlib.contextmanager
def load(address, port, path="/", *, kept=False, clients=8, pause_s=0.01, timeout_s=120):
    """Ask for ``path`` from several clients at once while a ``with`` block runs; yield a Pressure.

    The block is entered once each client has had an answer or lost one.

    :param kept: keep each connection as long as the server does, instead of one for each request.
    :param pause_s: seconds a client rests after each request.
    :param timeout_s: seconds a client waits for each step of an answer: longer than gunicorn leaves
        a worker without a sign of life, so that one which hangs is lost with its reason.
    """
    pressure, stop = Pressure(), threading.Event()

    def client():
        connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
        with contextlib.closing(connection):
            while not stop.wait(pause_s):
                _ask(connection, path, kept, pressure)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _client in range(clients)]
        try:
            pressure.more(clients)
            yield pressure
        finally:
            stop.set()
            for ended in running:
                ended.result()


def _ask(connection, path, kept, pressure):
    """Send one request, once, and count what becomes of it."""
    start = time.monotonic()
    pressure._count(sent=1)
    is_kept = connection.sock is not None
    try:
        if not is_kept:
            connection.connect()
            pressure._count(opened=1)
        connection.request("GET", path, headers={} if kept else {"Connection": "close"})
        body = _whole(connection.getresponse())
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        kind = "a kept connection" if is_kept else "a new connection"
        waited_s = time.monotonic() - start
        pressure._count(loss=f"{type(error).__name__} on {kind} after {waited_s:.2f} s: {error}")
        return
    if not kept:
        connection.close()
    pressure._count(body=body)


def _whole(answer):
    """Return the body of an answer.

    :raises http.client.HTTPException: its status is not 200, or its end is missing.
    """
    body = answer.read()
    if answer.status != 200:
        raise http.client.HTTPException(f"status {answer.status}")
    # Without either, headers or a body that were cut off look like whole ones.
    if not answer.chunked and "Content-Length" not in answer.headers:
        raise http.client.HTTPException("the answer does not say where it ends")
    return body
