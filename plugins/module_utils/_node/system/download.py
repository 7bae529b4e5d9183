# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files from the network: whole, and with the digest they are known by, or not at all."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import http.client
import netrc
import os
import queue
import socket
import threading
import time
import urllib.error
import zlib
from collections.abc import Iterator, Mapping
from typing import IO

from ansible.module_utils.urls import ConnectionError as UrlsError
from ansible.module_utils.urls import open_url

from .. import urls
from ..refusal import Refusal
from . import commands, disk, files

_CHUNK = 1 << 20
_SILENCE_S = 60
# With redirections and a proxy that has to fetch it first.
_ANSWER_S = 5 * 60
# The largest files here, bundles of an RDMA stack, have less than a tenth of it.
_LONGEST_S = 2 * 60 * 60
_LARGEST = 64 << 30
# Of chunks that have come and are not written yet.
_AHEAD = 4
_NETRC_LIMIT = 256 << 10
# What a server does not have, or sends so that nobody can read it: packed by gzip, which open_url
# takes apart, or a redirection that leads to no address.
_BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    UrlsError,
    ConnectionError,
    socket.timeout,
    *(gzip.BadGzipFile, zlib.error, EOFError, ValueError),
)


def fetch(
    url: str,
    path: str,
    sha256: str,
    proxies: Mapping[str, str] | None = None,
    ca_bundle: str | None = None,
) -> None:
    """Put a file from a URL at ``path``, which appears only when it is whole and has the digest.

    A file that is already there with that digest is used as it is.

    :param url: http, https or file.
    :param path: where it is to lie; the folder is made.
    :param sha256: the hex digest it must have.
    :param proxies: {"http": URL, "https": URL}; without it the environment's apply.
    :param ca_bundle: path of the certificates to trust instead of the host's.
    :raises Refusal: it cannot be had, is another file, or there is no room for it.
    """
    if os.path.isfile(path) and files.sha256_of_file(path) == sha256:
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with (
        disk.watched(f"download {urls.shown(url)}", path),
        _proxies(proxies or {}),
        files.replacing(path, owner=None, group=None, mode=0o600) as handle,
    ):
        _stream(url, handle, sha256, ca_bundle)


def read(url: str, ca_bundle: str | None = None) -> bytes:
    """Return what is at a URL, its first MiB: of something small that proves itself.

    :raises Refusal: it cannot be had.
    """
    with _arriving(url, ca_bundle) as chunks:
        data = b""
        for chunk in chunks:
            data += chunk
            if len(data) >= _CHUNK:
                break
        return data[:_CHUNK]


def _stream(url: str, handle: IO[bytes], sha256: str, ca_bundle: str | None) -> None:
    digest = hashlib.sha256()
    with _arriving(url, ca_bundle) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            handle.write(chunk)
    if digest.hexdigest() != sha256:
        raise Refusal(
            f"download {urls.shown(url)}",
            f"its sha256 is {digest.hexdigest()}, wanted is {sha256}; nothing was installed",
            "Do not trust the file; correct the sha256 only after you know why it differs",
        )


def _chunks(url: str, arrived: queue.Queue[bytes | Exception]) -> Iterator[bytes]:
    """Yield what a server sends, as it comes.

    :param arrived: what :func:`_read_all` puts there.
    :raises Refusal: it takes too long, or has no end.
    """
    began, size = time.monotonic(), 0
    while True:
        chunk: bytes | Exception | None = None
        with contextlib.suppress(queue.Empty):
            chunk = arrived.get(timeout=max(0, began + _LONGEST_S - time.monotonic()))
        if isinstance(chunk, Exception):
            raise chunk
        if chunk == b"":
            return
        size += len(chunk or b"")
        took_s = time.monotonic() - began
        if chunk is None or took_s > _LONGEST_S or size > _LARGEST:
            limit = f"{_LONGEST_S // 60} minutes" if size <= _LARGEST else f"{_LARGEST >> 30} GiB"
            raise Refusal(
                f"download {urls.shown(url)}",
                f"it was not at its end after {limit}: {size >> 10} KiB in {took_s:.0f} s",
                "Look at the server and the way to it, or name a mirror that is nearer",
            )
        yield chunk


def _read_all(
    answer: IO[bytes], arrived: queue.Queue[bytes | Exception], is_over: threading.Event
) -> None:
    """Put what a server sends where it is waited for, up to its empty end or an error.

    A single reading may last for ever, as that of one empty part of a packed body after the other.

    :param is_over: set once nobody waits any more.
    """
    # One that waits for a whole chunk waits for as long as the server likes.
    read = getattr(answer, "read1", answer.read)
    with contextlib.closing(answer):
        try:
            for chunk in iter(lambda: read(_CHUNK), b""):
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


@contextlib.contextmanager
def _arriving(url: str, ca_bundle: str | None) -> Iterator[Iterator[bytes]]:
    """Yield what :func:`_chunks` yields of what is at a URL."""
    _refuse_odd_netrc()
    arrived: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
    is_over = threading.Event()
    try:
        answer = _answer(url, ca_bundle)
        threading.Thread(
            target=_read_all, args=(answer, arrived, is_over), name="arriving", daemon=True
        ).start()
        yield _chunks(url, arrived)
    except _BROKEN as error:
        raise Refusal(
            f"download {urls.shown(url)}",
            f"the server cannot be reached or does not have it: {commands.said(error)}",
            "Correct the address, or the proxy and CA bundle on the way to it, and run again",
        ) from error
    finally:
        is_over.set()
        # Who has no room for what has come goes on, and ends.
        with contextlib.suppress(queue.Empty):
            arrived.get_nowait()


def _answer(url: str, ca_bundle: str | None) -> IO[bytes]:
    """Return the answer of a server once it has begun.

    Each wait is bounded by itself, but a server may have us wait again and again: by headers that
    come letter by letter, or by "100 Continue" for ever. Who is left waiting then ends with us.

    :raises Refusal: it had not begun after a while.
    """
    found: list[IO[bytes] | Exception] = []

    def ask() -> None:
        try:
            found.append(open_url(url, timeout=_SILENCE_S, ca_path=ca_bundle))
        # Whatever it is, it is raised where it is waited for.
        except Exception as error:
            found.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    if not found:
        raise Refusal(
            f"download {urls.shown(url)}",
            f"it had not begun to answer after {_ANSWER_S} s",
            "Look at the server and the way to it, or name a mirror that is nearer",
        )
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


@contextlib.contextmanager
def _proxies(proxies: Mapping[str, str]) -> Iterator[None]:
    """Let urllib, which reads them from the environment alone, use these proxies for a while."""
    wanted = {f"{scheme}_proxy": address for scheme, address in proxies.items()}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
