"""What is told of the machine that was measured on."""

from __future__ import annotations

import importlib.metadata

import pytest

from benchmarks import machine, peer

CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7B13
processor\t: 1
model name\t: another
"""


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    (tmp_path / "meminfo").write_text("MemTotal:       24612345 kB\nMemFree:         1 kB\n")
    (tmp_path / "loadavg").write_text("0.31 0.40 2.00 1/234 5678\n")
    return tmp_path


def test_the_machine_is_told_by_what_bears_on_figures(proc):
    told = machine.describe(peer.PINS, proc)
    assert told["processor"] == "AMD EPYC 7B13"
    assert told["memory"] == "23.5 GiB"
    assert told["load before"] == "0.31"
    assert told["ansible-core"] == importlib.metadata.version("ansible-core")
    assert all(told.values())


def test_the_version_of_the_peer_is_the_one_that_is_pinned(proc, tmp_path):
    pins = tmp_path / "pins"
    pins.write_text("pyinfra-extra==9 \\\n    --hash=sha256:0\npyinfra==3.10.0 \\\n")
    assert machine.describe(pins, proc)["pyinfra"] == "3.10.0"


def test_a_processor_without_a_name_is_told_by_its_architecture():
    assert machine.processor("processor\t: 0\nBogoMIPS\t: 50\n").endswith(", without a name")
