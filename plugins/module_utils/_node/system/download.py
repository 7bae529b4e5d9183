# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files from the network: whole, and with the digest they are known by, or not at all.

A fault that may pass is given a few tries; each goes on where the last one broke off, if the server
can do that. What has come is proven by the digest of the whole alone, be it of many parts, so that
a server need not say which version of a file it has a part of.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from typing import IO, Callable

from .. import urls
from ..refusal import Refusal
from . import arrival, disk, files, unfinished_file
from .arrival import CHUNK, Arrival, Clock, Fault

_TRIES = 5
# A try that brings it as much further than any before does not count: the way is bad, not gone.
_FURTHER = 16 << 20
# Before the second try; doubled before each that follows, and shortened by up to a half, so that
# hosts that were cut off together do not come back together.
_PAUSE_S = 1.0
# How long a server that asks for it is left alone.
_LONGEST_PAUSE_S = 120
_DISTRUST = "Do not trust the file; correct the sha256 only after you know why it differs"
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
# What goes back to the server as it came: RFC 9110, 8.8.3, of strong tags alone (13.1.5).
_TAG = re.compile(r'"[!#-~]{0,200}"')
_DATE = re.compile(r"[A-Za-z0-9 ,:]{1,40}")


def fetch(
    url: str,
    path: str,
    sha256: str,
    proxies: Mapping[str, str] | None = None,
    ca_bundle: str | None = None,
) -> None:
    """Put a file from a URL at ``path``, which appears only when it is whole and has the digest.

    A file that is already there with that digest is used as it is, and what a killed run has of it
    is gone on with.

    :param url: http, https or file.
    :param path: where it is to lie; the folder is made.
    :param sha256: the hex digest it must have.
    :param proxies: {"http": URL, "https": URL}; without it the environment's apply.
    :param ca_bundle: path of the certificates to trust instead of the host's.
    :raises Refusal: it cannot be had, is another file, or there is no room for it.
    :raises ToBeContinued: it could not be had for now, and what has come stays for the next run.
    """
    if _is_there(path, sha256):
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    clock = Clock()
    with (
        disk.watched(f"download {urls.shown(url)}", path),
        _proxies(proxies or {}),
        unfinished_file.held(path, sha256, clock.left_s) as (handle, temporary),
    ):
        # Another run may have brought it, while we waited for that.
        if not _is_there(path, sha256):
            part = _Part(handle, is_file=True)
            if part.sha256 != sha256:
                _persist(url, part, clock, lambda: _take_whole(part, url, sha256, ca_bundle, clock))
            files.put_in_place(handle, temporary, path, owner=None, group=None, mode=0o600)


def read(url: str, ca_bundle: str | None = None) -> bytes:
    """Return what is at a URL, its first MiB: of something small that proves itself.

    :raises Refusal: it cannot be had.
    """
    handle, clock = io.BytesIO(), Clock()
    part = _Part(handle)
    _persist(url, part, clock, lambda: _take(part, url, ca_bundle, clock, CHUNK))
    return handle.getvalue()[:CHUNK]


def _is_there(path: str, sha256: str) -> bool:
    return os.path.isfile(path) and files.sha256_of_file(path) == sha256


class _Part:
    """What has come of a file so far, its digest computed as it comes.

    :param handle: the file, with what is there of it from before.
    :param is_file: whether it lies where the next run finds it.
    :ivar size: in bytes.
    :ivar total: what the whole file has, None where nobody said.
    :ivar is_kept: whether the next run may go on with it: there it is, and the server sends parts.
    :ivar is_doubtful: whether it was put together from several answers, or may have broken off.
    :ivar was_distrusted: whether all that had come was thrown away for its digest.
    """

    def __init__(self, handle: IO[bytes], is_file: bool = False) -> None:
        self._handle = handle
        self._is_file = is_file
        self.total: int | None
        self.is_doubtful = self.was_distrusted = False
        self._reset()
        for chunk in iter(lambda: handle.read(CHUNK), b""):
            self._count(chunk)
        self.is_kept = is_file

    @property
    def sha256(self) -> str:
        """The hex digest of what has come."""
        return self._digest.hexdigest()

    def begin_anew(self) -> None:
        """Throw away what has come."""
        self._handle.seek(0)
        self._handle.truncate()
        self._reset()

    def add(self, chunk: bytes) -> None:
        """Append what came."""
        self._handle.write(chunk)
        self._count(chunk)

    def wish(self) -> dict[str, str]:
        """Return the headers that ask for what is lacking, as long as the file is the same."""
        if self._is_unpacked:
            self.begin_anew()
        if not self.size:
            return {}
        condition = {"If-Range": self._version} if self._version else {}
        return {"Range": f"bytes={self.size}-", **condition}

    def prepare(self, answer: Arrival) -> None:
        """Make ready for the answer to :meth:`wish`, which has what is lacking, or all.

        :raises Fault: it has neither.
        """
        is_rest = self.size > 0 and self._is_rest(answer)
        if self.size and not is_rest:
            self.begin_anew()
            if answer.status == http.client.PARTIAL_CONTENT:
                raise Fault("the server sent another part of it than was asked for")
        if not is_rest:
            self._version, self.total = _version(answer), answer.size
        self._is_unpacked = "content-encoding" in answer.headers
        self.is_doubtful = is_rest or not answer.tells_its_end
        takes_ranges = is_rest or answer.headers.get("accept-ranges", "").lower() == "bytes"
        self.is_kept = self._is_file and takes_ranges and not self._is_unpacked

    def _is_rest(self, answer: Arrival) -> bool:
        """Say whether an answer goes on where this ends, with the same file."""
        match = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        is_part = answer.status == http.client.PARTIAL_CONTENT
        if not (match and is_part) or "content-encoding" in answer.headers:
            return False
        total = None if match.group(2) == "*" else int(match.group(2))
        version = _version(answer)
        is_other = _differ(total, self.total) or _differ(version, self._version)
        if int(match.group(1)) != self.size or is_other:
            return False
        ends = None if answer.size is None else self.size + answer.size
        self.total, self._version = self.total or total or ends, self._version or version
        return True

    def _reset(self) -> None:
        self.size, self._digest = 0, hashlib.sha256()
        self.total = None
        self._version = ""
        self._is_unpacked = self.is_kept = False

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._digest.update(chunk)


def _version(answer: Arrival) -> str:
    """Return by what a server tells a version of a file from others, '' where by nothing exact."""
    tag = answer.headers.get("etag", "")
    if tag:
        return tag if _TAG.fullmatch(tag) else ""
    date = answer.headers.get("last-modified", "")
    return date if _DATE.fullmatch(date) else ""


def _differ(one: object, other: object) -> bool:
    """Say whether two are known, and not the same."""
    return bool(one and other and one != other)


def _take(
    part: _Part, url: str, ca_bundle: str | None, clock: Clock, most: int | None = None
) -> None:
    """Ask for what is lacking of a file, once.

    :param most: as much of it as is needed; all where that is None.
    :raises Fault: it did not come.
    """
    wish = part.wish()
    try:
        with arrival.begun(url, ca_bundle, wish, clock) as answer:
            part.prepare(answer)
            for chunk in answer.chunks(part.size):
                part.add(chunk)
                if most and part.size >= most:
                    return
    except Fault as fault:
        if wish and fault.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # It is shorter by now than what came of it.
            part.begin_anew()
            fault.passes = "now"
        raise
    if part.total and part.size < part.total:
        # The connection ended, or less was sent of a part than was asked for: RFC 9110, 14.2.
        raise Fault(f"it broke off after {part.size} of {part.total} bytes")


def _take_whole(part: _Part, url: str, sha256: str, ca_bundle: str | None, clock: Clock) -> None:
    """Do the same, and hold the whole to its digest.

    What others may have put together, or that may have broken off, is fetched from its beginning
    once more; no other file becomes the right one by that.

    :raises Fault: it did not come, or is another file.
    """
    _take(part, url, ca_bundle, clock)
    if part.sha256 != sha256:
        said = f"its sha256 is {part.sha256}, wanted is {sha256}; nothing was installed"
        may_be_ours = part.is_doubtful and not part.was_distrusted
        part.begin_anew()
        part.was_distrusted = True
        raise Fault(said, _DISTRUST, "now" if may_be_ours else "never")


def _persist(url: str, part: _Part, clock: Clock, take: Callable[[], None]) -> None:
    """Take what comes of a file until it is there.

    :raises Refusal: it does not come, with the bound that was met; ToBeContinued where the next run
        may go on from what has come.
    """
    tries, furthest = 0, part.size
    while True:
        try:
            take()
            return
        except Fault as fault:
            if part.size >= furthest + _FURTHER:
                tries, furthest = 0, part.size
            tries += 1
            pause_s = max(fault.rest_s, _PAUSE_S * 2 ** (tries - 1) * random.uniform(0.5, 1))
            limit = _met(tries, fault.rest_s, pause_s, clock)
            if fault.passes == "now" and not limit:
                time.sleep(pause_s)
                continue
            what = f"download {urls.shown(url)}"
            because = fault.because + (f"; {limit}" if fault.passes == "now" else "")
            if fault.passes == "never" or not (part.is_kept and part.size):
                raise Refusal(what, because, fault.remedy) from fault
            stays = f"what has come of it, {part.size >> 10} KiB, stays for the next run"
            raise unfinished_file.ToBeContinued(
                what, f"{because}; {stays}", fault.remedy
            ) from fault


def _met(tries: int, rest_s: float, pause_s: float, clock: Clock) -> str:
    """Return which bound keeps us from another try, '' for none."""
    if tries >= _TRIES:
        return f"it was tried {tries} times, and is no more"
    if rest_s > _LONGEST_PAUSE_S:
        return f"it asks to be left alone for {rest_s:.0f} s, and is for {_LONGEST_PAUSE_S} at most"
    if pause_s > clock.left_s:
        return f"the {arrival.LONGEST_S // 60} minutes that it may take in all are over"
    return ""


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
