"""Downloads over bad lines: what may pass is tried again, from where it broke off, and bounded."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import fcntl
import gzip
import hashlib
import http.server
import multiprocessing
import os
import random
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    arrival,
    download,
    unfinished_file,
)

CONTENT = random.Random(7).randbytes(200_000)
OTHER = CONTENT[::-1]
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
TAG, RANGES = '"v1"', {"Accept-Ranges": "bytes", "ETag": '"v1"'}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request as the next row of ``server.script`` says, the last one for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(self.headers.get("Range"))
            server.conditions.append(self.headers.get("If-Range"))
            act = server.script[min(len(server.asked), len(server.script)) - 1]
        self.close_connection = True
        with contextlib.suppress(OSError):
            act(self)

    def begin(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.flush()

    def log_message(self, *_arguments):
        pass


def whole(content=CONTENT, **more):
    headers = {"Content-Length": len(content), **RANGES, **more}

    def act(handler):
        handler.begin(200, headers)
        handler.wfile.write(content)

    return act


def cut(count, content=CONTENT, headers=None):
    """All is promised, and so much comes."""
    headers = RANGES if headers is None else headers

    def act(handler):
        handler.begin(200, {"Content-Length": len(content), **headers})
        handler.wfile.write(content[:count])

    return act


def reset(count):
    """As a server that falls over: what has come is there, and then the connection is reset."""

    def act(handler):
        cut(count)(handler)
        handler.wfile.flush()
        time.sleep(0.3)
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()

    return act


def rest(content=CONTENT, shift=0, total=None, most=None, lacks=(), **more):
    """What lacks, by RFC 9110, 15.3.7; or something like it."""

    def act(handler):
        begin = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-")) + shift
        body = content[begin:][:most]
        headers = {
            "Content-Length": len(body),
            "Content-Range": f"bytes {begin}-{begin + len(body) - 1}/{total or len(content)}",
            **RANGES,
            **more,
        }
        handler.begin(206, {name: headers[name] for name in headers if name not in lacks})
        handler.wfile.write(body)

    return act


def cut_rest(count):
    def act(handler):
        begin = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        where = f"bytes {begin}-{SIZE - 1}/{SIZE}"
        handler.begin(206, {"Content-Length": SIZE - begin, "Content-Range": where, **RANGES})
        handler.wfile.write(CONTENT[begin:][:count])

    return act


def status(code, **headers):
    return lambda handler: handler.begin(
        code, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def hung_up(_handler):
    """The connection ends before anything is answered."""


def silent(_handler):
    time.sleep(1)


def silent_after(count):
    def act(handler):
        cut(count)(handler)
        handler.wfile.flush()
        time.sleep(1)

    return act


def without_length(content):
    """Until the connection ends, as servers of HTTP/1.0 do."""

    def act(handler):
        handler.begin(200, {})
        handler.wfile.write(content)

    return act


def in_chunks(*chunks):
    def act(handler):
        handler.begin(200, {"Transfer-Encoding": "chunked"})
        for chunk in chunks:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    return act


def packed(count=None):
    body = gzip.compress(CONTENT)[:count]

    def act(handler):
        handler.begin(200, {"Content-Encoding": "gzip", **RANGES})
        handler.wfile.write(body)

    return act


def open_behind(handler):
    """All that was promised, and a connection that stays open behind it."""
    whole()(handler)
    handler.wfile.flush()
    time.sleep(1)


FROM = "bytes=1000-"
MOVED = status(302, Location="/elsewhere", Content_Length=0)
# (what the server does, request after request; what it is asked for; "" for that the file comes, or
# what is said of it).
ROWS = {
    "comes": ([whole()], [None], ""),
    "broke-off": ([cut(1000), rest()], [None, FROM], ""),
    "broke-off-twice": ([cut(1000), cut_rest(500), rest()], [None, FROM, "bytes=1500-"], ""),
    "broke-off-at-once": ([cut(0), whole()], [None, None], ""),
    "hung-up": ([hung_up, whole()], [None, None], ""),
    "reset": ([reset(1000), rest()], [None, FROM], ""),
    "silent": ([silent, whole()], [None, None], ""),
    "silent-in-between": ([silent_after(1000), rest()], [None, FROM], ""),
    "chunks-broke-off": ([in_chunks(CONTENT[:1000]), rest()], [None, FROM], ""),
    "chunks": ([in_chunks(CONTENT, b"")], [None], ""),
    "open-behind": ([open_behind], [None], ""),
    "moved": ([MOVED, cut(1000), MOVED, rest()], [None, None, FROM, FROM], ""),
    # Bytes of what is packed are no bytes of the file.
    "packed": ([packed()], [None], ""),
    "packed-broke-off": ([packed(500), packed()], [None, None], ""),
    "rest-is-packed": (
        [cut(1000), rest(**{"Content-Encoding": "gzip"}), whole()],
        [None, FROM, None],
        "",
    ),
    **{
        f"status-{code}": ([status(code), whole()], [None, None], "")
        for code in (408, 429, 500, 502, 503, 504)
    },
    "status-in-between": ([cut(1000), status(503), rest()], [None, FROM, FROM], ""),
    **{
        f"status-{code}": ([status(code)], [None], str(code))
        for code in (400, 401, 403, 404, 407, 410, 416, 451)
    },
    "gone-in-between": ([cut(1000), status(404)], [None, FROM], "404"),
    # Those that do not know, or do not do, what a part is.
    "no-ranges": ([cut(1000, headers={}), whole()], [None, FROM], ""),
    "no-ranges-twice": ([cut(1000), cut(1200), rest()], [None, FROM, "bytes=1200-"], ""),
    "rest-of-elsewhere": ([cut(1000), rest(shift=1), whole()], [None, FROM, None], ""),
    "rest-of-the-begin": ([cut(1000), rest(shift=-1000), whole()], [None, FROM, None], ""),
    # It is told by where the part begins: the digest of the whole would give it but one more try.
    "rest-of-the-begin-again": (
        [*[cut(1000), rest(shift=-1000)] * 2, whole()],
        [None, FROM, None, FROM, None],
        "",
    ),
    "rest-of-no-place": (
        [cut(1000), rest(lacks=["Content-Range"]), whole()],
        [None, FROM, None],
        "",
    ),
    "rest-of-unknown-size": (
        [cut(1000), rest(**{"Content-Range": f"bytes 1000-{SIZE - 1}/*"})],
        [None, FROM],
        "",
    ),
    "rest-in-other-words": (
        [cut(1000), rest(**{"Content-Range": f"items 1000-{SIZE - 1}/{SIZE}"}), whole()],
        [None, FROM, None],
        "",
    ),
    "less-than-the-rest": ([cut(1000), rest(most=500), rest()], [None, FROM, "bytes=1500-"], ""),
    "shorter-by-now": ([cut(1000), status(416), whole()], [None, FROM, None], ""),
    # Another version than the one that began to come.
    "changed": ([cut(1000, OTHER), whole(ETag='"v2"')], [None, FROM], ""),
    "changed-in-size": ([cut(1000, OTHER + b"x"), rest(), whole()], [None, FROM, None], ""),
    "changed-by-its-tag": ([cut(1000, OTHER), rest(ETag='"v2"'), whole()], [None, FROM, None], ""),
    "changed-by-its-tag-again": (
        [*[cut(1000, OTHER), rest(ETag='"v2"')] * 2, whole()],
        [None, FROM, None, FROM, None],
        "",
    ),
    "changed-unseen": ([cut(1000, OTHER), rest(), whole()], [None, FROM, None], ""),
    # Another file is another file, however often it is fetched.
    "another": ([whole(OTHER)], [None], "its sha256 is"),
    "another-in-parts": (
        [cut(1000, OTHER), rest(OTHER), whole(OTHER)],
        [None, FROM, None],
        "its sha256 is",
    ),
    "another-in-parts-again": (
        [cut(1000, OTHER), rest(OTHER), cut(1000, OTHER), rest(OTHER)],
        [None, FROM, None, FROM],
        "its sha256 is",
    ),
    # Its end is that of the connection, be that broken.
    "without-length": ([without_length(CONTENT)], [None], ""),
    "without-length-broke-off": ([without_length(CONTENT[:1000]), whole()], [None, None], ""),
    "another-without-length": ([without_length(OTHER)], [None, None], "its sha256 is"),
    # A bound of tries, that says so.
    "never-whole": (
        [cut(1000, headers={})],
        [None, *[FROM] * 4],
        "broke off after 1000 of 200000 bytes; it was tried 5 times",
    ),
    "never-there": ([status(503)], [None] * 5, "503: Service Unavailable; it was tried 5 times"),
    "never-a-rest": (
        [cut(1000), rest(shift=1), cut(1000), rest(shift=1), cut(1000)],
        [None, FROM, None, FROM, None],
        "it was tried 5 times",
    ),
}


@contextlib.contextmanager
def serving(*script, tls=None):
    """A real HTTP server on the loopback that answers by a script."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.script, server.asked, server.conditions = list(script), [], []
        server.lock, server.daemon_threads, server.block_on_close = threading.Lock(), True, False
        server.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/file"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o755)
    return tmp_path / "cache" / "bundle.tgz"


@pytest.fixture(autouse=True)
def in_moments(monkeypatch):
    """No pause and no silence is longer than a moment."""
    monkeypatch.setattr(download, "_PAUSE_S", 0.001)
    monkeypatch.setattr(arrival, "_SILENCE_S", 0.5)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that would be made."""
    made = []
    monkeypatch.setattr(download, "_PAUSE_S", 1.0)
    monkeypatch.setattr(download.time, "sleep", made.append)
    return made


def left(path, content):
    """Leave what a killed run has of a file; return where."""
    place = path.parent / f".gpunode-{SHA256}"
    place.write_bytes(content)
    place.chmod(0o600)
    return place


def names(path):
    return os.listdir(path.parent)


@pytest.mark.parametrize("row", ROWS)
def test_what_may_pass_is_tried_again_from_where_it_broke_off_and_nothing_else(path, row):
    script, asked, said = ROWS[row]
    with serving(*script) as server:
        if said:
            with pytest.raises(Refusal) as refused:
                download.fetch(server.url, str(path), SHA256)
            assert said in str(refused.value)
            assert server.url in str(refused.value)
            assert not path.exists()
        else:
            download.fetch(server.url, str(path), SHA256)
            assert path.read_bytes() == CONTENT
            assert names(path) == [path.name]
        assert server.asked == asked


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"v1"'}, '"v1"'),
        ({"ETag": '"v1"', "Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT"}, '"v1"'),
        (
            {"Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT"},
            "Mon, 30 Nov 2026 10:00:00 GMT",
        ),
        # No such condition may be made of a weak one, nor of a date beside it.
        ({"ETag": 'W/"v1"', "Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT"}, None),
        ({}, None),
        # Nothing comes back that is none.
        ({"ETag": "v1"}, None),
        ({"ETag": '"v1"x'}, None),
        ({"ETag": f'"{"x" * 9000}"'}, None),
        ({"ETag": '"\xe4"'}, None),
        ({"Last-Modified": "x\x1b[2J"}, None),
    ],
)
def test_a_part_is_asked_for_under_the_condition_that_the_file_is_the_same(
    path, headers, condition
):
    with serving(cut(1000, headers=headers), rest(ETag=headers.get("ETag", ""))) as server:
        download.fetch(server.url, str(path), SHA256)
    assert server.conditions == [None, condition]
    assert path.read_bytes() == CONTENT


def test_pauses_grow_and_are_not_the_same_for_all(path, pauses):
    for _host in range(2):
        with serving(status(503)) as server, pytest.raises(Refusal, match="tried 5 times"):
            download.fetch(server.url, str(path), SHA256)
    assert len(pauses) == 8
    for at, pause in enumerate(pauses):
        assert 2 ** (at % 4) / 2 <= pause <= 2 ** (at % 4)
    assert pauses[:4] != pauses[4:]


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("3", 3, 3),
        (" 7 ", 7, 7),
        ("120", 120, 120),
        (lambda: email.utils.formatdate(time.time() + 60, usegmt=True), 55, 60),
        # What says nothing, or nothing that is still to come, is not waited for.
        ("0", 0.5, 1),
        ("-5", 0.5, 1),
        ("soon", 0.5, 1),
        ("9" * 5000, 0.5, 1),
        ("\u0663", 0.5, 1),
        ("Mon, 30 Nov 1999 10:00:00 GMT", 0.5, 1),
        ("Mon, 99 Nov 99999 10:00:00 GMT", 0.5, 1),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_asks_for_it_is_left_alone_for_a_while(path, pauses, said, least, most, code):
    said = said if isinstance(said, str) else said()
    busy = status(code, Retry_After=said.encode().decode("latin-1"))
    with serving(busy, whole()) as server:
        download.fetch(server.url, str(path), SHA256)
    assert len(pauses) == 1
    assert least <= pauses[0] <= most


@pytest.mark.parametrize("said", ["121", "999999999", email.utils.formatdate(4e9, usegmt=True)])
def test_a_server_that_asks_for_too_long_a_pause_is_not_asked_again(path, pauses, said):
    with (
        serving(status(503, Retry_After=said)) as server,
        pytest.raises(Refusal, match=r"asks to be left alone for \d+ s, and is for 120 at most"),
    ):
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None]
    assert pauses == []


def test_no_try_goes_beyond_the_time_of_all_of_them(path, monkeypatch):
    monkeypatch.setattr(arrival, "LONGEST_S", 60)
    monkeypatch.setattr(download, "_PAUSE_S", 200)
    with (
        serving(status(503)) as server,
        pytest.raises(Refusal, match="the 1 minutes that it may take in all are over"),
    ):
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None]


def test_a_drip_that_begins_again_and_again_has_one_bound_of_time(path, monkeypatch):
    monkeypatch.setattr(arrival, "LONGEST_S", 1)
    monkeypatch.setattr(download, "_FURTHER", 1)

    def drip(handler):
        time.sleep(0.05)
        (cut_rest(10) if handler.headers["Range"] else cut(10))(handler)

    began = time.monotonic()
    with serving(drip) as server, pytest.raises(Refusal, match="minutes"):
        download.fetch(server.url, str(path), SHA256)
    assert time.monotonic() - began < 5


def test_a_bad_way_on_which_it_comes_further_is_not_given_up(path, monkeypatch):
    monkeypatch.setattr(download, "_FURTHER", 1000)
    with serving(cut(1000), *[cut_rest(1000)] * 8, rest()) as server:
        download.fetch(server.url, str(path), SHA256)
    assert server.asked[-1] == "bytes=9000-"


def test_a_way_that_breaks_at_one_place_again_and_again_is(path, monkeypatch):
    monkeypatch.setattr(download, "_FURTHER", 1000)
    with (
        serving(cut(1000, headers={})) as server,
        pytest.raises(Refusal, match="tried 5 times"),
    ):
        download.fetch(server.url, str(path), SHA256)
    assert len(server.asked) == 5


def test_a_size_has_a_bound_over_all_parts(path, monkeypatch):
    monkeypatch.setattr(arrival, "_LARGEST", SIZE - 1)
    with serving(cut(1000), rest()) as server, pytest.raises(Refusal, match="after 0 GiB"):
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None, FROM]
    assert names(path) == []


def test_a_certificate_that_nobody_vouches_for_is_not_asked_twice(path, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with serving(whole(), tls=tls) as server:
        taken = []
        accept = server.get_request
        server.get_request = lambda: (taken.append(1), accept())[1]
        with pytest.raises(Refusal, match="CERTIFICATE_VERIFY_FAILED"):
            download.fetch(server.url, str(path), SHA256)
        assert len(taken) == 1
        download.fetch(server.url, str(path), SHA256, ca_bundle=str(tmp_path / "ca.pem"))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True),
        (BrokenPipeError(), True),
        (TimeoutError(), True),
        (ssl.SSLEOFError(), True),
        (OSError(errno.EHOSTUNREACH, "no route"), True),
        (socket.gaierror(socket.EAI_AGAIN, "for now"), True),
        (OSError("Tunnel connection failed: 503 Service Unavailable"), True),
        (ConnectionRefusedError(), False),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), False),
        (ssl.SSLCertVerificationError("self-signed"), False),
        (ssl.SSLError("wrong version number"), False),
        (FileNotFoundError(errno.ENOENT, "no certificates"), False),
    ],
)
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_only_what_may_pass_is_tried_again(path, monkeypatch, error, passes, is_wrapped):
    raised = arrival.urllib.error.URLError(error) if is_wrapped else error
    asked = []

    def fail(url, **_options):
        asked.append(url)
        raise raised

    monkeypatch.setattr(arrival, "open_url", fail)
    with pytest.raises(Refusal, match="cannot be reached"):
        download.fetch("https://x.example/file", str(path), SHA256)
    assert len(asked) == (5 if passes else 1)


def test_something_small_comes_over_a_bad_line_as_well():
    with serving(status(503), cut(1000), rest()) as server:
        assert download.read(server.url) == CONTENT
    assert server.asked == [None, None, FROM]


def test_what_is_read_in_vain_says_so_and_not_that_it_is_kept():
    with serving(cut(1000)) as server, pytest.raises(Refusal, match="tried 5 times") as refused:
        download.read(server.url)
    assert "next run" not in str(refused.value)


def test_what_a_run_that_is_killed_has_is_gone_on_with(path, monkeypatch):
    monkeypatch.setattr(arrival, "_SILENCE_S", 60)

    def slow(handler):
        cut(150_000)(handler)
        handler.wfile.flush()
        time.sleep(30)

    with serving(slow, rest()) as server:
        fork = multiprocessing.get_context("fork")
        running = fork.Process(target=download.fetch, args=(server.url, str(path), SHA256))
        running.start()
        place = path.parent / f".gpunode-{SHA256}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (place.exists() and place.stat().st_size):
            time.sleep(0.05)
        running.kill()
        running.join(10)
        has = place.stat().st_size
        assert 0 < has < SIZE
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None, f"bytes={has}-"]
    assert path.read_bytes() == CONTENT
    assert names(path) == [path.name]


def test_what_was_whole_before_the_kill_is_not_asked_for(path):
    left(path, CONTENT)
    with serving(whole()) as server:
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == []
    assert path.read_bytes() == CONTENT
    assert names(path) == [path.name]


@pytest.mark.parametrize(
    ("content", "script", "asked"),
    [
        # After a loss of power, what was written may not be what is there.
        (bytes(1000), [rest(), whole()], [FROM, None]),
        (OTHER[:1000], [rest(), whole()], [FROM, None]),
        (CONTENT + b"x", [status(416), whole()], [f"bytes={SIZE + 1}-", None]),
        (CONTENT[:1000], [whole()], [FROM]),
        (b"", [whole()], [None]),
    ],
)
def test_what_a_killed_run_left_is_proven_by_the_digest_of_the_whole(path, content, script, asked):
    left(path, content)
    with serving(*script) as server:
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == asked
    assert path.read_bytes() == CONTENT


def by_others(place):
    place.chmod(0o620)


def under_two_names(place):
    os.link(place, place.parents[1] / "second")


def a_link(place):
    place.rename(place.parents[1] / "target")
    place.symlink_to(place.parents[1] / "target")


def a_pipe(place):
    place.unlink()
    os.mkfifo(place, 0o600)


def in_an_open_folder(place):
    place.parent.chmod(0o777)


def of_another_digest(place):
    place.rename(place.with_name(f".gpunode-{'0' * 64}"))


@pytest.mark.parametrize(
    "make", [by_others, under_two_names, a_link, a_pipe, in_an_open_folder, of_another_digest]
)
def test_what_others_could_have_written_is_not_gone_on_with(path, make):
    make(left(path, CONTENT[:1000]))
    with serving(whole()) as server:
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None]
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600
    for kept in path.parents[1].glob("[st]*"):
        assert kept.read_bytes() == CONTENT[:1000]


def test_what_could_not_be_had_for_now_stays_for_the_next_run(path):
    with serving(cut(1000), status(503)) as server:
        with pytest.raises(unfinished_file.ToBeContinued, match="0 KiB, stays for the next run"):
            download.fetch(server.url, str(path), SHA256)
        server.script[:] = [rest()]
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None, *[FROM] * 5]
    assert names(path) == [path.name]


@pytest.mark.parametrize(
    "script",
    [
        # It would begin anew in any case, or never be whole.
        [cut(1000, headers={})],
        [cut(1000), status(404)],
        [cut(1000, OTHER), rest(OTHER), whole(OTHER)],
        [status(503)],
    ],
)
def test_what_cannot_be_gone_on_with_does_not_stay(path, script):
    with serving(*script) as server, pytest.raises(Refusal) as refused:
        download.fetch(server.url, str(path), SHA256)
    assert "next run" not in str(refused.value)
    assert names(path) == []


def test_a_disk_that_fills_up_on_the_way_is_named_and_nothing_stays(path, monkeypatch):
    add = download._Part.add

    def full_after_a_part(part, chunk):
        if part.size:
            raise OSError(errno.ENOSPC, "full")
        add(part, chunk)

    monkeypatch.setattr(download._Part, "add", full_after_a_part)
    with (
        serving(cut(1000), rest()) as server,
        pytest.raises(Refusal, match=f"the file system of {path} is full"),
    ):
        download.fetch(server.url, str(path), SHA256)
    assert server.asked == [None, FROM]
    assert names(path) == []


def test_two_runs_that_want_the_same_fetch_it_once(path):
    go = threading.Event()

    def when_told(handler):
        go.wait(10)
        whole()(handler)

    with serving(when_told) as server:
        fetching = [
            threading.Thread(target=download.fetch, args=(server.url, str(path), SHA256))
            for _run in range(3)
        ]
        for thread in fetching:
            thread.start()
        time.sleep(0.5)
        go.set()
        for thread in fetching:
            thread.join(30)
    assert server.asked == [None]
    assert path.read_bytes() == CONTENT
    assert names(path) == [path.name]


def test_whoever_waited_for_a_run_that_failed_fetches_it_itself(path):
    with serving(whole()) as server:
        waiting = threading.Thread(target=download.fetch, args=(server.url, str(path), SHA256))
        with unfinished_file.held(str(path), SHA256, 1) as (handle, _temporary):
            handle.write(OTHER)
            waiting.start()
            time.sleep(0.5)
        waiting.join(30)
    assert path.read_bytes() == CONTENT
    assert names(path) == [path.name]


def test_a_file_that_another_run_removes_before_it_is_locked_is_made_anew(path, monkeypatch):
    lock, place = fcntl.flock, path.parent / f".gpunode-{SHA256}"
    removals = [place.unlink]

    def lock_late(handle, how):
        if removals:
            removals.pop()()
        lock(handle, how)

    monkeypatch.setattr(unfinished_file.fcntl, "flock", lock_late)
    with serving(whole()) as server:
        download.fetch(server.url, str(path), SHA256)
    assert path.read_bytes() == CONTENT


def test_a_run_that_has_it_for_too_long_is_named(path):
    with (
        unfinished_file.held(str(path), SHA256, 1),
        pytest.raises(Refusal, match="another run has it, and still had after 0 s"),
        unfinished_file.held(str(path), SHA256, 0.2),
    ):
        pass
    assert names(path) == []
