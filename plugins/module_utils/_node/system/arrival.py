# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One answer of a server, as it comes: for no longer than it may take, or with why it did not."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http.client
import netrc
import os
import queue
import re
import socket
import ssl
import threading
import time
import urllib.error
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any, Callable, Literal, NamedTuple

from ansible.module_utils.urls import ConnectionError as UrlsError
from ansible.module_utils.urls import open_url

from ..refusal import Refusal
from . import commands, files

#: What is read at once, in bytes.
CHUNK = 1 << 20
_SILENCE_S = 60
# With redirections and a proxy that has to fetch it first.
_ANSWER_S = 5 * 60
#: How long a download may take, in seconds.
LONGEST_S = 2 * 60 * 60
# The largest files here, bundles of an RDMA stack, have less than a tenth of it.
_LARGEST = 64 << 30
# Of chunks that have come and are not written yet.
_AHEAD = 4
_NETRC_LIMIT = 256 << 10
# What a server does not have, or sends so that nobody can read it: packed by gzip, which open_url
# takes apart, or a redirection that leads to no address.
_BROKEN = (OSError, http.client.HTTPException, UrlsError, zlib.error, EOFError, ValueError)
# What another try may find mended: a connection that broke, silence, less than was promised. A
# server that refuses connections is not there to be waited for; wget and curl take it like that.
_PASSING = (
    *(ConnectionError, TimeoutError, socket.timeout, ssl.SSLEOFError),
    *(http.client.IncompleteRead, EOFError),
)
_NO_WAY = (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)
_PASSING_STATUS = (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS)
# What http.client makes of a proxy's answer.
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
_REMEDY = "Correct the address, or the proxy and CA bundle on the way to it, and run again"
_SLOW = "Look at the server and the way to it, or name a mirror that is nearer"
# open_url has one opener for a whole process, so that one asks after the other.
_ASKING = threading.Lock()


class Fault(Exception):
    """What kept an answer from coming whole.

    :ivar because: the reason, as a Refusal has it.
    :ivar remedy: what the reader should do.
    :ivar passes: whether another try may have a better end: now, in a later run, or never.
    :ivar rest_s: for how long the server asks to be left alone, 0 where it does not.
    :ivar status: of the answer, 0 where there was none.
    """

    def __init__(
        self,
        because: str,
        remedy: str = _REMEDY,
        passes: Literal["now", "later", "never"] = "now",
        rest_s: float = 0,
        status: int = 0,
    ) -> None:
        super().__init__(because)
        self.because, self.remedy, self.passes = because, remedy, passes
        self.rest_s, self.status = rest_s, status


class Clock:
    """How long a download may take, with all of its tries."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def left_s(self) -> float:
        """The seconds that are left of it, 0 where none are."""
        return max(0.0, self._began + LONGEST_S - time.monotonic())

    def over(self, size: int = 0) -> Fault:
        """Return the Fault for what has no end, or had none when this was over.

        :param size: of what came, in bytes.
        """
        took_s = time.monotonic() - self._began
        is_large = size > _LARGEST
        limit = f"{_LARGEST >> 30} GiB" if is_large else f"{LONGEST_S // 60} minutes"
        came = f": {size >> 10} KiB in {took_s:.0f} s" if size else ""
        said = f"it was not at its end after {limit}{came}"
        return Fault(said, _SLOW, "never" if is_large else "later")


class Arrival(NamedTuple):
    """An answer that has begun.

    :ivar status: 200 or the like; 0 where what was asked is no server.
    :ivar headers: {name in lower case: value}, of headers that come again the first.
    :ivar size: of the body in bytes, None where nothing tells.
    :ivar tells_its_end: whether a body that breaks off is known from one that is over.
    :ivar chunks: called with how much of the file there is already, gives what comes, as it comes.
    """

    status: int
    headers: Mapping[str, str]
    size: int | None
    tells_its_end: bool
    chunks: Callable[[int], Iterator[bytes]]


@contextlib.contextmanager
def begun(
    url: str, ca_bundle: str | None, headers: Mapping[str, str], clock: Clock
) -> Iterator[Arrival]:
    """Give the answer of a server to one request.

    :param headers: {name: value} of what is asked besides.
    :raises Fault: there is none; or, while its chunks are taken, it breaks or has no end.
    :raises Refusal: what is asked by could not be understood by anybody.
    """
    _refuse_odd_netrc()
    arrived: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
    is_over = threading.Event()
    try:
        answer: Any = _answer(url, ca_bundle, headers, clock)
        # None as well where it comes in chunks, or is packed.
        size = getattr(answer, "length", None)
        reading = (answer, size, arrived, is_over)
        threading.Thread(target=_read_all, args=reading, name="arriving", daemon=True).start()
        told = {name.lower(): value for name, value in reversed(answer.headers.items())}
        is_packed = "content-encoding" in told
        tells = size is not None or is_packed or getattr(answer, "chunked", True)
        status = getattr(answer, "status", None) or 0
        yield Arrival(status, told, size, tells, lambda have: _chunks(arrived, have, clock))
    finally:
        is_over.set()
        # Who has no room for what has come goes on, and ends.
        with contextlib.suppress(queue.Empty):
            arrived.get_nowait()


def _chunks(arrived: queue.Queue[bytes | Exception], have: int, clock: Clock) -> Iterator[bytes]:
    """Yield what a server sends, as it comes.

    :param arrived: what :func:`_read_all` puts there.
    :param have: how much of the file came before.
    """
    came = 0
    while True:
        chunk: bytes | Exception | None = None
        with contextlib.suppress(queue.Empty):
            chunk = arrived.get(timeout=clock.left_s)
        if isinstance(chunk, Exception):
            raise _fault(chunk) from chunk
        if chunk == b"":
            return
        came += len(chunk or b"")
        if chunk is None or not clock.left_s or have + came > _LARGEST:
            raise clock.over(have + came)
        yield chunk


def _read_all(
    answer: IO[bytes],
    size: int | None,
    arrived: queue.Queue[bytes | Exception],
    is_over: threading.Event,
) -> None:
    """Put what a server sends where it is waited for, up to its empty end or an error.

    A single reading may last for ever, as that of one empty part of a packed body after the other.

    :param size: of the body; a server may leave the connection open behind it.
    :param is_over: set once nobody waits any more.
    """
    # One that waits for a whole chunk waits for as long as the server likes.
    read = getattr(answer, "read1", answer.read)
    came = 0
    with contextlib.closing(answer):
        try:
            while size is None or came < size:
                chunk = read(CHUNK if size is None else min(CHUNK, size - came))
                came += len(chunk)
                if not chunk:
                    break
                arrived.put(chunk)
                if is_over.is_set():
                    return
            arrived.put(b"")
        # Whatever it is, it is raised where it is waited for.
        except Exception as error:
            arrived.put(error)


def _refuse_odd_netrc() -> None:
    """Refuse a file of passwords that would keep us waiting, or that nobody could read.

    open_url reads it whenever an address has no user, whatever lies there.

    :raises Refusal: it is no regular file, larger than it could be for a reason, or cannot be read.
    """
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    if path == os.devnull:
        return
    try:
        if len(files.read_text(path)) > _NETRC_LIMIT:
            raise OSError(errno.EFBIG, f"it has more than {_NETRC_LIMIT >> 10} KiB")
        netrc.netrc(os.environ.get("NETRC"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # To open_url there is none then.
        return
    except (OSError, ValueError, netrc.NetrcParseError) as error:
        # The error of a parser may quote the line, and a password with it.
        reason = (
            getattr(error, "strerror", None) or "it cannot be understood, or others may read it"
        )
        raise Refusal(f"passwords in {path}", reason, "Mend it or move it away") from None


def _answer(url: str, ca_bundle: str | None, headers: Mapping[str, str], clock: Clock) -> IO[bytes]:
    """Return the answer of a server once it has begun.

    Each wait is bounded by itself, but a server may have us wait again and again: by headers that
    come letter by letter, or by "100 Continue" for ever. Who is left waiting then ends with us.

    :raises Fault: it had not begun after a while, or there is none.
    """
    found: list[IO[bytes] | Exception] = []

    def ask() -> None:
        try:
            given = {"timeout": _SILENCE_S, "ca_path": ca_bundle, "headers": dict(headers)}
            found.append(open_url(url, **given))
        # Whatever it is, it is raised where it is waited for.
        except Exception as error:
            found.append(error)

    if not _ASKING.acquire(timeout=clock.left_s):
        raise clock.over()
    try:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(min(_ANSWER_S, clock.left_s))
    finally:
        _ASKING.release()
    if not found and not clock.left_s:
        raise clock.over()
    if not found:
        raise Fault(f"it had not begun to answer after {_ANSWER_S} s", _SLOW, "later")
    if isinstance(found[0], Exception):
        raise _fault(found[0]) from found[0]
    return found[0]


def _fault(error: Exception) -> Exception:
    """Return the Fault for what a server did, and any other error as it is."""
    if not isinstance(error, _BROKEN):
        return error
    said = f"the server cannot be reached or does not have it: {commands.said(error)}"
    passes: Literal["now", "never"] = "now" if _passes(error) else "never"
    if not isinstance(error, urllib.error.HTTPError):
        return Fault(said, passes=passes)
    error.close()
    return Fault(said, _REMEDY, passes, _rest_s(error.headers.get("Retry-After")), error.code)


def _passes(error: Exception) -> bool:
    """Say whether another try may go better: not what a server says for good, or a certificate."""
    reason = getattr(error, "reason", error)
    tunnel = _TUNNEL.match(str(reason))
    status = getattr(error, "code", None) or (int(tunnel.group(1)) if tunnel else None)
    if status:
        return status in _PASSING_STATUS or status >= http.client.INTERNAL_SERVER_ERROR
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    if isinstance(reason, ConnectionRefusedError):
        return False
    return isinstance(reason, _PASSING) or getattr(reason, "errno", None) in _NO_WAY


def _rest_s(value: str | None) -> float:
    """Return the seconds that a Retry-After asks for, RFC 9110 (10.2.3); 0 for none or nonsense."""
    said = (value or "").strip()[:40]
    if re.fullmatch("[0-9]{1,9}", said):
        return float(said)
    with contextlib.suppress(TypeError, ValueError, OverflowError, IndexError):
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    return 0
