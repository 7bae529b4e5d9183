"""Which architecture a GPU is of, checked with boards whose chip is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import architectures

BOARDS = {
    "kepler": {"102d": "Tesla K80", "1023": "Tesla K40m", "1183": "GTX 660 Ti", "1287": "GT 730"},
    "maxwell": {"13f2": "Tesla M60", "17fd": "Tesla M40", "13bd": "Tesla M10", "1617": "GTX 980M"},
    "pascal": {"15f8": "Tesla P100", "1b38": "Tesla P40", "1bb3": "Tesla P4", "1d01": "GT 1030"},
    "volta": {"1db1": "V100 SXM2 16GB", "1db4": "V100 PCIe", "1db5": "V100 SXM2 32GB",
              "1db6": "V100 PCIe 32GB", "1df6": "V100S"},
    "turing": {"1eb8": "Tesla T4", "1e30": "Quadro RTX 6000", "1f82": "GTX 1650",
               "2184": "GTX 1660"},
    "ampere": {"20b0": "A100 SXM4 40GB", "20b2": "A100 SXM4 80GB", "20b5": "A100 PCIe 80GB",
               "20f1": "A100 PCIe 40GB", "20b7": "A30", "2235": "A40", "2236": "A10",
               "25b6": "A2 / A16"},
    "ada": {"26b5": "L40", "26b9": "L40S", "27b8": "L4", "2684": "RTX 4090"},
    "hopper": {"2321": "H100 NVL", "2330": "H100 SXM5", "2331": "H100 PCIe", "2335": "H200",
               "233b": "H200 NVL", "2342": "GH200"},
    "blackwell": {"2901": "B200", "2941": "GB200", "2bb5": "RTX PRO 6000 Server", "2e12": "GB10",
                  "3182": "B300", "31c2": "GB300"},
}  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_boards_are_of_the_architecture_of_their_chip(name):
    assert {architectures.of(device) for device in BOARDS[name]} == {name}


@pytest.mark.parametrize(
    ("device", "what"),
    [
        ("1091", "Tesla M2090, Fermi"),
        ("1251", "GTX 560M, Fermi"),
        ("1af1", "A100 NVSwitch"),
        ("22a3", "H100 NVSwitch"),
        ("3002", "GR100, after Blackwell"),
        ("ffff", "no device"),
    ],
)
def test_what_is_no_gpu_of_these_architectures_is_of_none(device, what):
    assert architectures.of(device) == "", what


def test_the_ranges_are_sorted_and_do_not_overlap():
    ends = [end for first, last, _name in architectures.RANGES for end in (first, last)]
    assert ends == sorted(ends)
    assert len(set(ends)) == len(ends)


def test_every_architecture_has_a_range_and_every_range_an_architecture():
    names = {name for _first, _last, name in architectures.RANGES}
    assert names == set(architectures.NAMES) == set(BOARDS)


@pytest.mark.parametrize("device", ["2901", "2920", "2941", "3182", "31c2"])
def test_a_board_of_the_fifth_nvlink_is_told(device):
    assert architectures.is_nvlink5(device)


@pytest.mark.parametrize("device", ["2335", "29bb", "2bb5", "2e12", "3002", ""])
def test_a_board_without_the_fifth_nvlink_is_told(device):
    assert not architectures.is_nvlink5(device)


@given(st.text())
def test_no_text_is_an_error(text):
    assert architectures.of(text) in ("", *architectures.NAMES)
    assert architectures.is_nvlink5(text) in (True, False)
