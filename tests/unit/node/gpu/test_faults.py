"""Faults of GPUs, from logs with the lines that the driver writes."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import faults as gpu_faults
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

MMU = "Xid (PCI:0000:3b:00): 31, pid=1234, name=python3, Ch 00000010, intr 00000000."
LOST = "Xid (PCI:0000:5e:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def survey(**logs):
    """Return what is told of a host whose programs print some logs; others are missing."""

    def run(argv, **_options):
        if argv[0] not in logs:
            raise FileNotFoundError(argv[0])
        return subprocess.CompletedProcess(argv, 0, logs[argv[0]].encode(), b"")

    with tempfile.TemporaryDirectory() as folder:
        planted(Path(folder), {"/proc/modules": "nvidia 61440 0 - Live 0x0\n"})
        return gpu_faults.survey(Root(folder, run))


def told_by(**logs):
    return survey(**logs)["gpu_faults"]


def faults(*lines):
    rows = told_by(dmesg="".join(f"{line}\n" for line in lines))
    return [(row["address"], row["xid"], row["says"]) for row in rows]


def test_a_fault_is_told_with_its_gpu_and_number():
    assert faults("usb 1-1: new device", f"NVRM: {MMU}", f"NVRM: {LOST}") == [
        ("0000:3b:00.0", 31, MMU),
        ("0000:5e:00.0", 79, LOST),
    ]


@pytest.mark.parametrize(
    "where",
    ["PCI:0000:3B:00", "0000:3b:00", "PCI:0000:3b:00.0", "PCI:0000:3b:00 GPU-I:01",
     "PCI:0000:3b:00 GPU-I:01 GPU-CI:00"],
)  # fmt: skip
def test_the_address_is_told_as_sysfs_writes_it_however_the_driver_does(where):
    ((address, xid, _says),) = faults(f"NVRM: Xid ({where}): 43, pid=1")
    assert (address, xid) == ("0000:3b:00.0", 43)


def test_of_faults_of_one_kind_the_last_is_told():
    later = MMU.replace("1234", "5678")
    assert faults(f"NVRM: {MMU}", f"NVRM: {later}") == [("0000:3b:00.0", 31, later)]


@pytest.mark.parametrize(
    "lines",
    [
        ["NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."],
        ["NVRM: GPU at 0000:3b:00.0 has fallen off the bus."],
        [
            "NVRM: The NVIDIA GPU 0000:3b:00.0",
            "               NVRM: (PCI ID: 10de:2330) installed in this system has",
            "               NVRM: fallen off the bus and is not responding to commands.",
        ],
        [
            "NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:2d04) installed in this system has",
            "NVRM: fallen off the bus and is not responding to commands.",
        ],
    ],
)
def test_a_gpu_that_fell_off_the_bus_is_told_without_a_number(lines):
    ((address, xid, says),) = faults("NVRM: loading NVIDIA UNIX x86_64 Kernel Module", *lines)
    assert (address, xid) == ("0000:3b:00.0", 0)
    assert "fallen off the bus" in says


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x24:0x72:1568)"],
            "RmInitAdapter failed",
        ),
        (
            [
                "NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:1eb8)",
                "NVRM: installed in this vGPU host system is not supported by",
                "NVRM: proprietary nvidia.ko.",
            ],
            "vGPU host system",
        ),
        (
            [
                "NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:0fc6)",
                "NVRM: installed in this system is not supported by the",
                "NVRM: NVIDIA 580.95.05 driver release.",
            ],
            "not supported by the",
        ),
        # nv-pci.c: the firmware left the GPU without addresses for its memory.
        (
            [
                "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
                "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:3b:00.0)",
            ],
            "BAR1 is 0M",
        ),
        (["NVRM: BAR0 is 0M @ 0x0 (PCI:0000:3b:00)"], "BAR0 is 0M"),
        (
            ["NVRM: GPU 0000:3b:00.0: Guest driver is incompatible with host driver"],
            "incompatible with host driver",
        ),
    ],
)
def test_what_has_no_number_is_told_with_its_gpu(lines, words):
    ((address, xid, says),) = faults(*lines)
    assert (address, xid) == ("0000:3b:00.0", 0)
    assert words in says


def test_a_gpu_that_fell_off_the_bus_and_could_not_be_initialized_has_a_row_for_each():
    lines = "NVRM: GPU 0000:3b:00.0: {}"
    says = ["GPU has fallen off the bus.", "RmInitAdapter failed! (0x24:0x72:1568)"]
    assert len(faults(*map(lines.format, says))) == 2


def test_a_guest_that_was_turned_away_is_told_without_an_address():
    says = "Guest driver is incompatible with host driver"
    assert faults(f"NVRM: {says}") == [("", 0, says)]


def test_a_recovery_action_is_told_as_it_was_changed_last():
    line = (
        "NVRM: Xid (PCI:0000:41:00): 154, GPU recovery action changed from 0x{} ({}) to 0x{} ({})"
    )
    needed = line.format(0, "None", 1, "GPU Reset Required")
    done = line.format(1, "GPU Reset Required", 0, "None")
    ((address, xid, says),) = faults(needed, done)
    assert (address, xid) == ("0000:41:00.0", 154)
    assert says.endswith("to 0x0 (None)")
    (row,) = told_by(journalctl=f"{done}\n{needed}\n")
    assert row["says"] == says


def switches(*lines):
    rows = survey(dmesg="".join(f"{line}\n" for line in lines))["switch_faults"]
    return [(row["address"], row["sxid"], row["fatal"], row["says"]) for row in rows]


def test_an_error_of_an_nvswitch_is_told_with_whether_it_is_fatal():
    fatal = "SXid (PCI:0000:c4:00.0): 24007, Fatal, Link 31 sourcetrack timeout error (First)"
    other = "SXid (PCI:0000:c5:00.0): 12028, Non-fatal, Link 44 egress non-posted PRIV error"
    assert switches(f"nvidia-nvswitch0: {fatal}", f"nvidia-nvswitch1: {other}") == [
        ("0000:c4:00.0", 24007, True, fatal),
        ("0000:c5:00.0", 12028, False, other),
    ]


def test_an_error_of_an_nvswitch_that_does_not_say_whether_it_is_fatal_is_told():
    hot = "SXid (PCI:0000:c4:00.0): 10004, NVSWITCH Temperature 85C | TSENSE WARN Threshold 80C"
    assert switches(f"nvidia-nvswitch0: {hot}") == [("0000:c4:00.0", 10004, False, hot)]


def test_an_nvswitch_without_a_number_is_one():
    fatal = "SXid (PCI:0000:c4:00.0): 12033, Fatal, Link 44 egress non-posted PRIV error"
    assert [row[:3] for row in switches(f"nvidia-nvswitch: {fatal}")] == [
        ("0000:c4:00.0", 12033, True)
    ]


def test_what_follows_an_error_of_an_nvswitch_is_no_other_one():
    first = "SXid (PCI:0000:c4:00.0): 24007, Fatal, Link 31 sourcetrack timeout error (First)"
    more = "SXid (PCI:0000:c4:00.0): 24007, {}"
    lines = (first, more.format("Severity 1 Engine instance 31"), more.format("Data {0x1, 0x0}"))
    assert [row[3] for row in switches(*lines)] == [first]


def test_an_nvswitch_is_asked_about_by_the_same_question(tmp_path):
    asked = []

    def run(argv, **_options):
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, b"", b"")

    device = "/sys/bus/pci/devices/0000:c4:00.0"
    tree = {
        f"{device}/vendor": "0x10de",
        f"{device}/class": "0x068000",
        f"{device}/device": "0x1af1",
    }
    planted(tmp_path, tree)
    gpu_faults.survey(Root(str(tmp_path), run))
    assert "--grep=NVRM|SXid" in asked[0]


def test_of_lines_that_begin_with_the_newest_the_one_before_still_has_the_address():
    lines = [
        "NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:2d04) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
        "NVRM: GPU 0000:5e:00.0: something else",
    ]
    (row,) = told_by(journalctl="".join(f"{line}\n" for line in lines[::-1]))
    assert row["address"] == "0000:3b:00.0"


def test_what_others_say_is_no_fault():
    assert faults("nouveau: Xid (PCI:0000:3b:00): 31", "NVRM: fallen off the bus", "NVRM: ok") == []


def test_the_journal_is_asked_first_and_begins_with_the_newest():
    later = MMU.replace("1234", "5678")
    (row,) = told_by(journalctl=f"NVRM: {later}\nNVRM: {MMU}\n", dmesg=f"NVRM: {LOST}\n")
    assert row["says"] == later


def test_the_kernels_own_log_is_asked_where_the_journal_has_nothing():
    (row,) = told_by(journalctl="", dmesg=f"NVRM: {LOST}\n")
    assert row["xid"] == 79


def test_a_host_without_a_log_has_no_faults():
    assert told_by() == []


@given(st.text(), st.sampled_from(["", "NVRM: ", "NVRM: Xid (PCI:", "NVRM: GPU 0000:3b:00.0: "]))
def test_rubbish_in_a_log_is_no_error(rubbish, before):
    assert isinstance(faults(before + rubbish, f"{before}{rubbish}: 9"), list)


@pytest.mark.parametrize(
    "line",
    [
        f"a.out[4242]: segfault at 0 ip 0 sp 0 error 4 in NVRM: {LOST}[55+1000]",
        f"NVRM: a[4242]: segfault at 0 ip 0 sp 0 error 4 in NVRM: {LOST}[55+1000]",
        "NVRM: a[42]: segfault at 0 ip 0 sp 0 error 4 in GPU 0000:5e:00.0: fallen off the bus[5+1]",
        f"[NVRM] NVRM: a[42]: segfault at 0 ip 0 sp 0 error 4 in NVRM: {LOST}[55+1000]",
        f"traps: a[42] general protection fault ip:0 sp:0 error:0 in NVRM: {LOST}[55+1000]",
        f"process '/tmp/NVRM: {LOST}' started with executable stack",
        "SXid (x[4]: segfault in nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 24007, Fatal, x[1]",
    ],
)
def test_a_program_that_is_called_like_a_fault_and_crashes_is_none(line):
    assert faults(line) == switches(line) == []


def test_a_fault_is_told_from_behind_the_thread_that_some_kernels_name():
    ((_address, xid, _says),) = faults(f"[  T4242] NVRM: {LOST}")
    assert xid == 79


@pytest.mark.parametrize(
    ("logs", "known"),
    [
        ({"journalctl": f"NVRM: {MMU}\n"}, True),
        ({"dmesg": "usb 1-1: new device\n"}, True),
        ({"journalctl": "", "dmesg": ""}, False),
        ({}, False),
    ],
)
def test_a_log_that_cannot_be_read_is_no_log_without_faults(logs, known):
    assert survey(**logs)["faults_unknown"] is not known


def test_a_host_without_a_device_of_nvidias_is_not_asked_and_has_no_faults(tmp_path):
    found = gpu_faults.survey(Root(str(tmp_path)))
    assert (found["faults_unknown"], found["gpu_faults"]) == (False, [])
