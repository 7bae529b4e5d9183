"""Downloads: whole and of the right digest, or nothing and a reason that names the address."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import http.server
import os
import threading
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    arrival,
    download,
)

CONTENT = b"#!/bin/sh\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
_OK, _MOVED, _PACKED = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: ",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
)
# Whole answers of a server that means no good, or is broken.
HOSTILE = {
    "no-gzip": _PACKED + b"plain",
    "gzip-cut": _PACKED + gzip.compress(os.urandom(9000))[:500],
    "gzip-broken": _PACKED + gzip.compress(CONTENT)[:12] + b"\xff" * 400,
    "gzip-of-another-sum": _PACKED + gzip.compress(CONTENT)[:-8] + b"\xff" * 8,
    "to-no-address": _MOVED + b"http://[::1/x\r\n\r\n",
    "to-no-port": _MOVED + b"http://127.0.0.1:abc/x\r\n\r\n",
    "to-no-letters": _MOVED + b"http://\xff\xfe/x\r\n\r\n",
    "to-no-name": _MOVED + b"http://" + b"a" * 100 + b".example/x\r\n\r\n",
    "to-a-file": _MOVED + b"file:///etc/passwd\r\n\r\n",
    "to-itself": _MOVED + b"\r\n\r\n",
    "no-http": b"\x1b[2J\x1b]0;x\x07" + b"x" * 9000 + b"\r\n\r\n",
    "orders": b"HTTP/1.1 404 \x1b[31mX\xc2\x9b2J\r\n\r\n",
    "headers": _OK + b"X: y\r\n" * 500 + b"\r\n",
    "chunks": _OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nx",
}


# Ways in which a body goes on without a byte of it: (headers, what it begins with, what follows).
_PACKED = b"Content-Encoding: gzip\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
WITHOUT_END = {
    "empty-members": (_PACKED, b"", gzip.compress(b"")),
    "long-name": (_PACKED, b"\x1f\x8b\x08\x08" + bytes(6), b"x"),
    "chunk-says": (_CHUNKED, b"1;", b"x"),
    "trailers": (_CHUNKED, b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.strip("/") in HOSTILE:
            self.wfile.write(HOSTILE[self.path.strip("/")])
            return
        if self.path.strip("/") in WITHOUT_END:
            headers, begins, follows = WITHOUT_END[self.path.strip("/")]
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + headers + begins)
            with contextlib.suppress(OSError):
                # On and on, for longer than anybody is to wait, and not for ever.
                for _moment in range(100):
                    self.wfile.write(follows)
                    time.sleep(0.05)
            return
        self.server.asked.append(self.path)
        self.server.heard.append(self.headers.get("Authorization"))
        if "missing" in self.path:
            self.send_error(404)
            return
        slow = {"never": b"", "continue": b"HTTP/1.1 100 Continue\r\n\r\n", "header": b"x"}
        for word in slow.keys() & {self.path.strip("/")}:
            # A little again and again, so that no single wait is long.
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Name: " if word == "header" else b"")
            for _moment in range(200):
                self.wfile.write(slow[word])
                time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for byte in CONTENT[:40] if "drip" in self.path else b"":
            self.wfile.write(bytes([byte]))
            time.sleep(0.1)
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if "cut" in self.path else CONTENT)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    """A real HTTP server on the loopback; ``asked`` holds the paths, ``heard`` who asked."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.heard = [], []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def without_rest(monkeypatch):
    """No pause is longer than a moment, whatever is said of how long it is."""
    monkeypatch.setattr(download, "_PAUSE_S", 0.001)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "installer.sh"


def test_a_file_of_the_right_digest_arrives_whole(server, path):
    download.fetch(f"{server.url}/ok", str(path), SHA256)
    assert path.read_bytes() == CONTENT


def test_what_is_there_already_is_not_fetched_again(server, path):
    download.fetch(f"{server.url}/ok", str(path), SHA256)
    download.fetch(f"{server.url}/ok", str(path), SHA256)
    assert server.asked == ["/ok"]


@pytest.mark.parametrize(
    ("name", "sha256", "words"),
    [
        ("ok", "0" * 64, f"its sha256 is {SHA256}, wanted is 000000"),
        ("cut", SHA256, "it broke off after 25000 of 50000 bytes; it was tried 5 times"),
        ("missing", SHA256, "404"),
    ],
)
def test_another_file_leaves_nothing_behind(server, path, name, sha256, words):
    with pytest.raises(Refusal, match=words) as refused:
        download.fetch(f"{server.url}/{name}", str(path), sha256)
    assert f"{server.url}/{name}" in str(refused.value)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("is_whole", [True, False])
def test_whatever_a_server_answers_is_refused_in_one_short_line(server, path, name, is_whole):
    ask = (lambda url: download.fetch(url, str(path), SHA256)) if is_whole else download.read
    with pytest.raises(Refusal) as caught:
        ask(f"{server.url}/{name}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    assert f"{server.url}/{name}" in str(caught.value)
    assert not path.parent.exists() or not os.listdir(path.parent)


def test_a_dead_server_is_named_without_its_password(server, path):
    server.shutdown()
    server.server_close()
    address = server.url.replace("://", "://ob:geheim@")
    with pytest.raises(Refusal, match="cannot be reached") as refused:
        download.fetch(f"{address}/ok", str(path), SHA256)
    assert f"{server.server_port}/ok" in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_proxy_is_asked_and_forgotten_again(server, path):
    download.fetch("http://nowhere.invalid/ok", str(path), SHA256, proxies={"http": server.url})
    assert server.asked == ["http://nowhere.invalid/ok"]
    assert "http_proxy" not in os.environ


def given_up(url, path, words):
    """Fetch what is refused with such words, within seconds and leaving nothing."""
    began = time.monotonic()
    with pytest.raises(Refusal, match=words):
        download.fetch(url, str(path), SHA256)
    assert time.monotonic() - began < 4
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("way", ["never", "continue", "header"])
def test_a_server_that_does_not_come_to_its_answer_is_waited_for_no_longer(
    server, path, monkeypatch, way
):
    monkeypatch.setattr(arrival, "_ANSWER_S", 0.5)
    given_up(f"{server.url}/{way}", path, "it had not begun to answer after")


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("LONGEST_S", 1, "after 0 minutes"), ("_LARGEST", 10, "after 0 GiB")],
)
def test_what_does_not_end_names_the_limit_and_leaves_nothing(
    server, path, monkeypatch, limit, value, words
):
    monkeypatch.setattr(arrival, limit, value)
    with pytest.raises(Refusal, match=f"not at its end {words}"):
        download.fetch(f"{server.url}/drip", str(path), SHA256)
    assert os.listdir(path.parent) == []
    with pytest.raises(Refusal, match=f"not at its end {words}"):
        download.read(f"{server.url}/drip")


@pytest.mark.parametrize("way", WITHOUT_END)
def test_a_body_that_goes_on_without_a_byte_of_it_is_waited_for_no_longer(
    server, path, monkeypatch, way
):
    monkeypatch.setattr(arrival, "LONGEST_S", 0.5)
    given_up(f"{server.url}/{way}", path, "not at its end after")


def test_what_fails_on_the_disk_keeps_no_server_waiting(server, path, monkeypatch):
    class Full:
        def update(self, _chunk):
            raise OSError(errno.ENOSPC, "full")

        def hexdigest(self):
            return "of nothing yet"

    # Those of servers that other tests gave up end with their servers.
    before = set(threading.enumerate())

    def arriving():
        return [
            one for one in threading.enumerate() if one.name == "arriving" and one not in before
        ]

    monkeypatch.setattr(download.hashlib, "sha256", Full)
    with pytest.raises(Refusal, match="full"):
        # It sends for four seconds.
        download.fetch(f"{server.url}/drip", str(path), SHA256)
    deadline = time.monotonic() + 2
    while arriving() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert arriving() == []


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (os.mkfifo, "no regular file"),
        (os.mkdir, "no regular file"),
        (lambda path: path.write_text("#" * (300 << 10)), "more than 256 KiB"),
        (lambda path: path.write_text("machine x login y password geheim nonsense"), "understood"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "understood"),
    ],
)
def test_a_file_of_passwords_that_is_none_is_told_and_keeps_nobody_waiting(
    server, path, tmp_path, monkeypatch, put, says
):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    put(tmp_path / "netrc")
    with pytest.raises(Refusal, match=says) as caught:
        download.fetch(f"{server.url}/ok", str(path), SHA256)
    assert str(tmp_path / "netrc") in caught.value.what
    assert "geheim" not in str(caught.value)


def test_a_file_of_passwords_is_used(server, path, tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ob password geheim\n")
    download.fetch(f"{server.url}/ok", str(path), SHA256)
    assert server.heard == ["Basic b2I6Z2VoZWlt"]


@pytest.mark.parametrize("none", ["/dev/null", "/dev/null/.netrc", "/nowhere/netrc"])
def test_no_file_of_passwords_is_none(server, path, monkeypatch, none):
    monkeypatch.setenv("NETRC", none)
    download.fetch(f"{server.url}/ok", str(path), SHA256)
    assert server.heard == [None]
