"""The unix sockets that somebody can reach at a path, whatever their owners call them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import unix_sockets


@pytest.fixture
def place(monkeypatch):
    # A path of a socket has 107 bytes.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.chdir(folder)
        yield folder


@contextlib.contextmanager
def listener(path, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(path)
        server.listen()
        yield str(os.fstat(server.fileno()).st_ino)


def here(place):
    """Return what is found below a folder: of the host's own sockets nothing is known."""
    found = unix_sockets.listening().items()
    return {inode: path for inode, path in found if path.startswith(place)}


def forged(path):
    """Return the name of a socket that has a row of /proc/net/unix about a path in it."""
    return f"x\n0: 0 0 00010000 0001 01 4242 {path}"


def test_a_socket_is_found_by_its_own_number(place):
    with listener(f"{place}/app.sock") as inode:
        assert here(place) == {inode: f"{place}/app.sock"}
    assert here(place) == {}


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET])
def test_a_socket_of_another_kind_is_none(place, kind):
    with listener(f"{place}/app.sock", kind):
        assert here(place) == {}


def test_a_line_break_in_a_name_makes_no_row_of_its_own(place):
    web, name = f"{place}/web", forged(f"{place}/web")
    os.makedirs(os.path.dirname(name))
    with socket.socket(socket.AF_UNIX) as ours:
        # Bound, and not listened on: it is there, and nobody has taken it.
        ours.bind(web)
        with listener(name):
            assert here(place) == {}


def test_of_a_name_that_two_have_the_one_that_is_reached_there_counts(place):
    path = f"{place}/web"
    # As one of another mount namespace is, which has its own file of that name.
    with listener(path):
        os.rename(path, f"{place}/moved")
        with listener(path) as inode:
            assert here(place) == {inode: path}


def test_a_socket_that_nobody_can_reach_is_in_nobodys_way(place):
    with listener(f"{place}/web"):
        os.unlink(f"{place}/web")
        assert here(place) == {}
        with open(f"{place}/web", "w", encoding="ascii"):
            pass
        assert here(place) == {}


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\udcffb", "a\u202eb"])
def test_a_name_that_cannot_be_shown_is_none_that_could_be_asked_for(place, name):
    with listener(f"{place}/{name}"):
        assert here(place) == {}


def test_where_the_kernel_tells_other_numbers_than_the_file_system_all_count(place, monkeypatch):
    real = unix_sockets._file_at
    monkeypatch.setattr(unix_sockets, "_file_at", lambda path: (real(path) or -1) + 1)
    with listener(f"{place}/web") as inode:
        assert here(place) == {inode: f"{place}/web"}


def test_a_kernel_that_does_not_answer_has_its_table(place, monkeypatch):
    def refused(*_arguments):
        raise OSError(93, "Protocol not supported")

    with listener(f"{place}/web") as inode:
        monkeypatch.setattr(unix_sockets.socket, "socket", refused)
        assert here(place) == {inode: f"{place}/web"}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.binary(min_size=1, max_size=30), max_size=6, unique=True))
def test_whatever_sockets_are_called_each_that_can_be_said_is_found(place, names):
    names = [name for name in names if not {b"/"[0], 0} & set(name) and name not in (b".", b"..")]
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [os.unlink(os.path.join(place.encode(), name)) for name in names])
        made = {
            stack.enter_context(listener(os.path.join(place.encode(), name))): os.fsdecode(name)
            for name in names
        }
        said = {inode: f"{place}/{name}" for inode, name in made.items() if name.isprintable()}
        assert here(place) == said


@given(data=st.binary(max_size=200))
def test_an_answer_that_is_none_is_an_error_and_has_an_end(data):
    with contextlib.suppress(OSError, struct.error):
        for _kind, body in unix_sockets._messages(data):
            list(unix_sockets._row(body))
