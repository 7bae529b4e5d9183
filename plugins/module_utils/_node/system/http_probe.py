# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTTP request to an address as systemd writes it, TCP or a unix socket; or over TLS."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Callable, NamedTuple

from . import commands, listening

_LOOK_S = 0.25
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Connection(http.client.HTTPConnection):
    """An HTTP connection to a ListenStream= address."""

    def __init__(self, listen: str, timeout_s: float) -> None:
        address, port = listening.parse(listen)
        self._address = _LOOPBACK.get(address, address)
        self.was_hung_up = False
        super().__init__("localhost", port or None, timeout=timeout_s)

    def take_up_tls(self, look: Callable[[], object], deadline: float) -> None:
        """Have what follows encrypted, whoever vouches for the other side.

        It is the address that was asked for: whom others would trust there is for them to check.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock.settimeout(0)
        self.sock = context.wrap_socket(self.sock, do_handshake_on_connect=False)
        while True:
            try:
                self.sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                _wait(self.sock, deadline, look)
        self.sock.settimeout(self.timeout)

    def connect(self) -> None:
        if self.port and not self._address.startswith("/"):
            self.sock = socket.create_connection((self._address, self.port), self.timeout)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address)

    def getresponse(self) -> http.client.HTTPResponse:
        answer = super().getresponse()
        if self.was_hung_up:
            # Headers that were cut off pass for headers.
            raise TimeoutError("timed out")
        return answer

    def hang_up(self) -> None:
        """End the connection from here; whoever reads from it finds its end."""
        self.was_hung_up = True
        with contextlib.suppress(OSError):
            # Not that of TLS, which would forget its state under whoever reads.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class Answer(NamedTuple):
    """What came of a request.

    :ivar status: that of the answer, 0 where there was none.
    :ivar failure: why there was none.
    :ivar location: where it sends whoever asked, '' for nowhere.
    """

    status: int
    failure: str = ""
    location: str = ""

    def complaint(self) -> str:
        """Return '' for an answer 200, else a phrase that says what was answered."""
        if not self.status:
            return f"gave no answer ({self.failure})"
        return "" if self.status == http.client.OK else f"answered {self.status}"


def ask(
    listen: str,
    path: str,
    timeout_s: float,
    look: Callable[[], object] = lambda: None,
    headers: Mapping[str, str] | None = None,
    tls: bool = False,
) -> Answer:
    """Return what is answered to GET ``path`` over ``listen``.

    :param listen: a ListenStream= value; a wildcard address is asked over loopback.
    :param path: the URL's path.
    :param timeout_s: seconds to wait for the whole exchange.
    :param look: called several times a second while no answer has come; what it raises ends the
        wait. A request in the queue of a socket waits there although nobody is left to take it.
    :param headers: of the request; without a Host among them it is sent to localhost.
    :param tls: whether it is asked over TLS.
    """
    connection = _Connection(listen, timeout_s)
    deadline = time.monotonic() + timeout_s
    # Whoever drips an answer, or says "100 Continue" for ever, keeps each single wait short.
    ending = threading.Timer(timeout_s, connection.hang_up)
    ending.daemon = True
    try:
        connection.connect()
        ending.start()
        if tls:
            connection.take_up_tls(look, deadline)
        connection.request("GET", path, headers=dict(headers or {}))
        _wait(connection.sock, deadline, look)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        late = "timed out" if connection.was_hung_up else ""
        return Answer(0, late or commands.said(error))
    finally:
        ending.cancel()
        connection.close()
    return Answer(answer.status, location=answer.headers.get("Location", ""))


def _wait(sock: socket.socket, deadline: float, look: Callable[[], object]) -> None:
    while not select.select([sock], [], [], _LOOK_S)[0]:
        if time.monotonic() >= deadline:
            raise TimeoutError("timed out")
        look()
