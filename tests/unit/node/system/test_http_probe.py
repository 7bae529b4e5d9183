"""The health probe against real servers."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import ssl
import subprocess
import threading
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import http_probe


def complaint(*arguments):
    return http_probe.ask(*arguments).complaint()


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers 200 on /healthz, leads to the Host it was asked by on /away, 503 elsewhere."""

    def do_GET(self):
        self.send_response({"/healthz": 200, "/away": 301}.get(self.path, 503))
        if self.path == "/away":
            self.send_header("Location", f"{self.headers['X-Scheme']}://{self.headers['Host']}/")
        self.end_headers()

    def address_string(self):
        return "client"

    def log_message(self, *_arguments):
        pass


class UnixServer(socketserver.UnixStreamServer):
    """Looks enough like a TCP server for BaseHTTPRequestHandler."""

    server_name, server_port = "localhost", 0


def certified(folder):
    """Return a server's TLS with a certificate that nobody vouches for."""
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=shop.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_server_that_speaks_tls_is_asked_over_it_whoever_signed_its_certificate(listen_by):
    listen = listen_by(certified)
    headers = {"Host": "shop.example", "X-Scheme": "https"}
    assert http_probe.ask(listen, "/healthz", 5, tls=True).complaint() == ""
    assert http_probe.ask(listen, "/away", 5, headers=headers, tls=True).status == 301
    assert http_probe.ask(listen, "/healthz", 5).status != 200


def test_one_that_speaks_none_is_told_as_such(listen):
    assert complaint(listen, "/healthz", 5, lambda: None, {}, True).startswith("gave no answer (")


def test_a_handshake_that_nobody_takes_up_ends_when_the_look_says_so_or_the_time_is_over():
    looks = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        found = http_probe.ask(listen, "/healthz", 1, lambda: looks.append(1), tls=True)
    assert (found.complaint(), len(looks) > 1) == ("gave no answer (timed out)", True)


@pytest.fixture
def listen_by(tmp_path):
    """A function that starts a server on a unix socket whose connections are wrapped."""
    stops = []

    def start(context_of):
        server = UnixServer(str(tmp_path / "tls.sock"), Answers)
        server.socket = context_of(tmp_path).wrap_socket(server.socket, server_side=True)
        # A client that speaks no TLS is none of the server's trouble.
        server.handle_error = lambda *_arguments: None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stops.append((server, thread))
        return str(tmp_path / "tls.sock")

    yield start
    for server, thread in stops:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(params=["tcp", "wildcard", "ipv6", "unix"])
def listen(request, tmp_path):
    """The ListenStream= address of a running server."""
    if request.param == "unix":
        address = str(tmp_path / "app.sock")
        server = UnixServer(address, Answers)
    else:
        host, family = {
            "tcp": ("127.0.0.1", socket.AF_INET),
            "wildcard": ("0.0.0.0", socket.AF_INET),
            "ipv6": ("::1", socket.AF_INET6),
        }[request.param]
        kind = type("Server", (http.server.HTTPServer,), {"address_family": family})
        server = kind((host, 0), Answers)
        shown = f"[{host}]" if ":" in host else host
        address = f"{shown}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield address
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_application_that_answers_200_gives_no_complaint(listen):
    assert complaint(listen, "/healthz", 5) == ""


def test_another_status_is_named(listen):
    assert complaint(listen, "/", 5) == "answered 503"


def test_what_is_asked_with_headers_is_answered_by_them(listen):
    headers = {"Host": "shop.example", "X-Scheme": "https"}
    found = http_probe.ask(listen, "/away", 5, headers=headers)
    assert found == http_probe.Answer(301, location="https://shop.example/")
    assert "://localhost" in http_probe.ask(listen, "/away", 5).location


def test_nobody_listening_is_a_complaint(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    for listen in (free, str(tmp_path / "none.sock")):
        assert complaint(listen, "/healthz", 5).startswith("gave no answer (")


def test_a_server_that_says_nothing_is_a_complaint_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        assert "timed out" in complaint(listen, "/healthz", 0.2)


def test_a_server_that_speaks_no_http_is_a_complaint():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        assert complaint(listen, "/healthz", 5).startswith("gave no answer (")
        thread.join(5)


def test_what_a_server_says_that_speaks_no_http_is_shown_in_one_short_line(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def answer():
            connection = server.accept()[0]
            connection.sendall(b"\x1b[2J\xc2\x9b" + b"x" * 9000 + b"\r\n\r\n")
            connection.recv(9000)

        thread = threading.Thread(target=answer)
        thread.start()
        found = complaint(str(tmp_path / "s"), "/healthz", 5)
        thread.join(5)
    assert found.startswith("gave no answer (?[2J")
    assert found.isprintable()
    assert len(found) < 400


def test_a_wait_in_vain_ends_when_the_look_says_so():
    class GoneError(Exception):
        pass

    def look():
        raise GoneError

    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(GoneError):
        complaint(f"127.0.0.1:{server.getsockname()[1]}", "/healthz", 60, look)


DRIPS = {
    "headers": lambda connection: connection.sendall(b"X"),
    "continue": lambda connection: connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_an_answer_without_end_is_waited_for_no_longer_than_any_other(drip):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _address = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"" if drip == "continue" else b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    DRIPS[drip](connection)
                    time.sleep(0.05)

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        said = complaint(f"127.0.0.1:{server.getsockname()[1]}", "/", 1)
    assert said == "gave no answer (timed out)"
    assert time.monotonic() - began < 5
