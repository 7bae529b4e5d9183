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
    devices,
    rank_process,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import transient_unit

ORDER = {
    "backend": "gloo",
    "rank": 0,
    "world_size": 2,
    "host": "localhost",
    "port": 29500,
    "timeout_s": 1,
    "device": 0,
}


@pytest.fixture(autouse=True)
def systemd(monkeypatch):
    """A host that systemd does not run, or does: as its tests say."""

    def runs(it_does):
        monkeypatch.setattr(transient_unit, "_has_systemd", lambda: it_does)

    runs(False)
    return runs


def take_part(run=subprocess.run, python=sys.executable, **order):
    """Return what one rank found."""
    (row,) = all_reduce.take_part(python, [{**ORDER, **order}], run)
    return row


def said(**found):
    """Return a note as a rank prints it."""
    return f"\n{rank_process.MARK}{json.dumps(found)}\n"


def runner(status=0, printed="", error=None):
    """Return a runner whose program prints this."""

    def run(argv, **_options):
        if error:
            raise error
        return subprocess.CompletedProcess(argv, status, printed, "")

    return run


def test_a_python_without_torch_says_so():
    row = take_part()
    assert row["stage"] == "torch"
    assert "torch" in row["says"]


def test_a_python_that_is_not_there_is_named():
    row = take_part(python="/nowhere/bin/python")
    assert (row["stage"], row["says"]) == (
        "torch",
        "/nowhere/bin/python: No such file or directory",
    )


def test_a_rank_that_hangs_is_ended_and_said_so():
    row = take_part(run=runner(error=subprocess.TimeoutExpired("python", 1)))
    assert row["stage"] == "torch"
    assert "still at it after 122 s" in row["says"]


def test_a_rank_that_was_ended_in_time_says_where(monkeypatch):
    monkeypatch.setattr(all_reduce, "_START_S", -2)
    row = take_part(run=runner(status=1, printed=said(stage="sum")))
    assert (row["stage"], row["says"]) == ("sum", "it was still at it after 0 s, and was ended")


def test_a_stage_that_does_not_end_is_given_up():
    code = """
import time
from ansible_collections.gpunode.stack.plugins.module_utils._node.nccl import rank_process
rank_process.Notes().begin("store", 0.2)
time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert all_reduce.noted(done.stdout.splitlines()) == {
        "stage": "store",
        "says": "nothing came for 0.2 s",
    }


def test_a_rank_that_dies_is_said_to_with_its_status():
    row = take_part(run=runner(status=-11, printed=said(stage="group")))
    assert (row["stage"], row["says"]) == ("group", "its process ended with status -11")


def test_of_a_log_what_is_about_the_network_is_kept():
    line = "h:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0\n"
    row = take_part(run=runner(printed=f"chatter\n{line}{said(stage='done')}"))
    assert row["log"] == [line.strip()]
    assert row["says"] == ""


@pytest.mark.parametrize("broken", ["{", '{"stage": "su', "[]", "7", ""])
def test_of_notes_the_last_whole_one_counts(broken):
    lines = [*said(stage="name").splitlines(), *said(stage="meet").splitlines(), "chatter"]
    assert all_reduce.noted([*lines, f"{rank_process.MARK}{broken}"]) == {"stage": "meet"}
    assert all_reduce.noted([f"{rank_process.MARK}{broken}"]) == {"stage": "torch"}


def in_units(systemd, answer=(0, ""), **order):
    """Return (row, command lines) of a rank on a host that systemd runs."""
    systemd(True)
    asked = []

    def run(argv, **_options):
        asked.append(argv)
        status, printed = answer if argv[0] == "systemd-run" else (3, "")
        return subprocess.CompletedProcess(argv, status, printed, "")

    return take_part(run=run, **order), [argv for argv in asked if argv[0] == "systemd-run"]


def settings_of(argv):
    return [part.partition("=")[2] for part in argv if part.startswith("--property=")]


def test_a_rank_is_run_as_a_user_without_rights_who_may_pin_memory(systemd):
    _row, (argv,) = in_units(systemd, (0, said(stage="done")))
    assert "--unit=gpunode-rank0.service" in argv
    assert {
        *("DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateTmp=yes"),
        *("ProtectSystem=strict", "ProtectHome=read-only", "LimitMEMLOCK=infinity"),
        *("DevicePolicy=closed", "DeviceAllow=char-nvidia* rw", "DeviceAllow=char-infiniband* rw"),
        "DeviceAllow=/dev/infiniband/rdma_cm rw",
    } < set(settings_of(argv))


def test_ranks_of_a_host_are_one_user_since_they_share_memory(systemd):
    users = {
        setting
        for rank in (0, 1)
        for argv in in_units(systemd, rank=rank)[1]
        for setting in settings_of(argv)
        if setting.startswith("User=")
    }
    assert len(users) == 1


def test_what_tells_nccl_its_way_goes_along_and_no_secret_does(systemd, monkeypatch):
    monkeypatch.setenv("NCCL_IB_HCA", "mlx5_0")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/nccl/lib")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "HUNTER")
    _row, (argv,) = in_units(systemd, backend="nccl")
    told = {part for part in argv if part.startswith("--setenv=")}
    assert {"--setenv=NCCL_IB_HCA=mlx5_0", "--setenv=NCCL_DEBUG=INFO"} < told
    assert "--setenv=LD_LIBRARY_PATH=/opt/nccl/lib" in told
    assert "HUNTER" not in str(argv)


def test_systemd_gets_the_program_as_one_line_in_which_it_replaces_nothing(systemd):
    _row, (argv,) = in_units(systemd)
    code = argv[argv.index("-c") + 1]
    assert "\n" not in code
    assert "$" not in code


def test_a_python_that_nobody_but_root_reaches_is_said_to_be_one(systemd):
    row, _asked = in_units(systemd, (203, ""))
    assert row["stage"] == "torch"
    assert row["says"] == "a user without rights, as whom it is run, cannot execute it"


def test_a_rank_of_an_earlier_run_that_is_still_at_work_is_named():
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 0, "", "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transient_unit, "_has_systemd", lambda: True)
        row = take_part(run=run)
    assert row["stage"] == "torch"
    assert "gpunode-rank0.service of an earlier run is still at work" in row["says"]


def test_device_files_that_cuda_cannot_make_without_rights_are_made_before():
    asked = []

    def run(argv, **_options):
        asked.append(argv)
        raise FileNotFoundError

    devices.make(run)
    assert asked == [["/usr/bin/nvidia-smi", "-L"], ["/usr/bin/nvidia-modprobe", "-c0", "-u"]]


@pytest.mark.parametrize(
    ("mode", "gid", "wanted"),
    [
        (0o666, 44, []),
        (0o660, 44, ["SupplementaryGroups=44"]),
        (0o660, 0, []),
        (0o640, 44, []),
        (0o600, 44, []),
    ],
)
def test_a_rank_is_in_the_group_that_devices_are_for_unless_it_is_roots(
    tmp_path, monkeypatch, mode, gid, wanted
):
    place = tmp_path / "nvidia0"
    place.write_text("")
    place.chmod(mode)
    os.chown(place, 0, gid)
    monkeypatch.setattr(devices, "_FILES", (f"{tmp_path}/nvidia*",))
    found = devices.settings()
    assert [one for one in found if one.startswith("SupplementaryGroups=")] == wanted


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
    row = take_part(run=None, python=str(prefix / "bin" / "python"))
    assert row["stage"] == "torch"
    assert "is written by all, so that others than root decide what is run" in row["says"]


def test_no_module_of_the_folder_that_we_come_from_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'hijacked')!r}, 'w')")
    take_part()
    assert not (tmp_path / "hijacked").exists()
