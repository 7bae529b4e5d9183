"""A rank says why it got no further, as long as it can speak, and is ended when it cannot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.nccl import (
    all_reduce,
    rank_process,
)

ORDER = {
    "backend": "gloo",
    "rank": 0,
    "world_size": 2,
    "host": "localhost",
    "port": 29500,
    "timeout_s": 1,
    "device": 0,
}


def take_part(tmp_path, run=subprocess.run, python=sys.executable, **order):
    """Return what one rank found."""
    (row,) = all_reduce.take_part(python, [{**ORDER, **order}], str(tmp_path), run)
    return row


def runner(status=0, notes=None, log="", error=None):
    """Return a runner whose program leaves these notes and this log."""

    def run(argv, stdout, **_options):
        if notes is not None:
            with open(json.loads(argv[-1])["notes"], "w", encoding="utf-8") as file:
                json.dump(notes, file)
        stdout.write(log)
        stdout.flush()
        if error:
            raise error
        return subprocess.CompletedProcess(argv, status)

    return run


def test_a_python_without_torch_says_so(tmp_path):
    row = take_part(tmp_path)
    assert row["stage"] == "torch"
    assert "torch" in row["says"]


def test_a_python_that_is_not_there_is_named(tmp_path):
    row = take_part(tmp_path, python="/nowhere/bin/python")
    assert (row["stage"], row["says"]) == (
        "torch",
        "/nowhere/bin/python: No such file or directory",
    )


def test_a_rank_that_hangs_is_ended_and_said_where(tmp_path):
    hangs = runner(notes={"stage": "sum"}, error=subprocess.TimeoutExpired("python", 1))
    row = take_part(tmp_path, run=hangs)
    assert row["stage"] == "sum"
    assert "still at it after 122 s" in row["says"]


def test_a_stage_that_does_not_end_is_given_up(tmp_path):
    notes = tmp_path / "notes"
    code = f"""
import time
from ansible_collections.gpunode.stack.plugins.module_utils._node.nccl import rank_process
rank_process.Notes({str(notes)!r}).begin("store", 0.2)
time.sleep(60)
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=30, check=False)
    assert done.returncode == 1
    assert json.loads(notes.read_text()) == {"stage": "store", "says": "nothing came for 0.2 s"}


def test_a_rank_that_dies_is_said_to_with_its_status(tmp_path):
    row = take_part(tmp_path, run=runner(status=-11, notes={"stage": "group"}))
    assert (row["stage"], row["says"]) == ("group", "its process ended with status -11")


def test_of_a_log_what_is_about_the_network_is_kept(tmp_path):
    line = "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0\n"
    row = take_part(tmp_path, run=runner(notes={"stage": "done"}, log=f"chatter\n{line}"))
    assert row["log"] == [line.strip()]
    assert row["says"] == ""


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server


def test_a_port_is_reached_once_it_listens(listener):
    port = listener.getsockname()[1]
    began = time.monotonic()
    late = threading.Timer(0.5, listener.listen)
    late.start()
    found = rank_process.reach(["127.0.0.1"], port, began + 20)
    late.join()
    assert found == ("127.0.0.1", "127.0.0.1")
    assert time.monotonic() - began > 0.4


def test_a_port_where_nobody_listens_is_given_up_at_the_deadline(listener):
    began = time.monotonic()
    with pytest.raises(rank_process.Stopped, match="refused"):
        rank_process.reach(["127.0.0.1"], listener.getsockname()[1], began + 0.5)
    assert time.monotonic() - began < 2


def test_a_name_without_an_address_is_said_to_have_none(monkeypatch):
    def resolver(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with pytest.raises(rank_process.Stopped, match="Name or service not known"):
        rank_process.resolve("nowhere.invalid", 29500)


def test_own_addresses_and_their_interface_are_known():
    assert rank_process.is_own("127.0.0.1")
    assert not rank_process.is_own("192.0.2.1")
    assert rank_process.interface_of("127.0.0.1") == "lo"
    assert rank_process.interface_of("192.0.2.1") == ""


@pytest.mark.parametrize("place", [".", "bin", "bin/python"])
def test_the_python_of_an_environment_that_others_could_change_is_not_run(tmp_path, place):
    prefix = tmp_path / "env"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").write_text("")
    (prefix / place).chmod(0o777)
    row = take_part(tmp_path, run=None, python=str(prefix / "bin" / "python"))
    assert row["stage"] == "torch"
    assert "is written by all, so that others than root decide what is run" in row["says"]


def test_no_module_of_the_folder_that_we_come_from_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'hijacked')!r}, 'w')")
    (tmp_path / "notes").mkdir()
    take_part(tmp_path / "notes")
    assert not (tmp_path / "hijacked").exists()
