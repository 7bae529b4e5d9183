"""A load's count against servers that answer, break off, and go away."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from lab.load import load

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def serving(*answers):
    """Serve on loopback, one thread a connection, and yield the port.

    Each connection's requests get ``answers`` in turn; after the last one it is closed.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(connection):
        with connection:
            for answer in answers:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    piece = connection.recv(4096)
                    if not piece:
                        return
                    request += piece
                connection.sendall(answer)

    def accept():
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=[connection]))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # close() alone does not wake a thread that waits in accept().
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(10)


def pressed(port, **options):
    """Press on a port of loopback until some requests have ended."""
    with load("127.0.0.1", port, clients=2, timeout_s=5, **options) as pressure:
        pressure.more(20)
    return pressure


def test_each_request_is_answered_on_a_connection_of_its_own():
    with serving(WHOLE) as port:
        pressure = pressed(port)
    assert pressure.lost == []
    assert pressure.sent == pressure.opened == pressure.answered >= 20
    assert set(pressure.answers) == {b"ok"}


def test_kept_connections_carry_more_than_one_request():
    with serving(*[WHOLE] * 1000) as port:
        pressure = pressed(port, kept=True)
    assert pressure.lost == []
    assert pressure.opened == 2 < pressure.answered


def test_a_server_that_says_it_will_close_is_asked_on_a_new_connection():
    with serving(WHOLE.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")) as port:
        pressure = pressed(port, kept=True)
    assert pressure.lost == []
    assert pressure.opened == pressure.answered


def test_a_kept_connection_that_is_closed_without_a_word_loses_its_next_request():
    with serving(WHOLE) as port:
        pressure = pressed(port, kept=True)
    assert pressure.sent == pressure.answered + len(pressure.lost)
    # The request after a loss goes to a new connection, and is answered there.
    assert abs(pressure.answered - len(pressure.lost)) <= 2
    assert "on a kept connection" in pressure.lost[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (WHOLE.replace(b"200 OK", b"502 Bad Gateway"), "status 502"),
        (WHOLE[:-1], "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nContent-", "does not say where it ends"),
        (b"", "RemoteDisconnected"),
    ],
)
def test_what_is_no_whole_answer_is_lost(answer, said):
    with serving(answer) as port:
        pressure = pressed(port)
    assert pressure.answered == 0
    assert pressure.sent == len(pressure.lost) >= 20
    assert said in pressure.lost[0]
    assert f"{pressure.sent} lost" in str(pressure)


def test_a_server_that_is_gone_loses_every_request():
    with serving(WHOLE) as port:
        pass
    pressure = pressed(port)
    assert pressure.opened == pressure.answered == 0
    assert "ConnectionRefusedError" in pressure.lost[0]


def test_a_server_that_stays_silent_loses_a_request_after_its_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = silent.getsockname()
        with load(*address, clients=1, timeout_s=0.2) as pressure:
            pressure.more(1, timeout_s=30)
    assert pressure.answered == 0
    assert "timed out" in pressure.lost[0]
