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


def told_by(**logs):
    """Return the rows of a host whose programs print some logs; others are missing."""

    def run(argv, **_options):
        if argv[0] not in logs:
            raise FileNotFoundError(argv[0])
        return subprocess.CompletedProcess(argv, 0, logs[argv[0]].encode(), b"")

    with tempfile.TemporaryDirectory() as folder:
        planted(Path(folder), {"/proc/modules": "nvidia 61440 0 - Live 0x0\n"})
        return gpu_faults.faults(Root(folder, run))


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
