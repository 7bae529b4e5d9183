"""The symbols of the RDMA stack, from small trees laid out as hosts are."""

from __future__ import annotations

import elf
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import symbols
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

K = "6.1.0-56-amd64"
CLIENT, VERSION = "ib_register_peer_memory_client", 0x95D78B19
SYMVERS = f"0x{VERSION:08x}\t{CLIENT}\tdrivers/infiniband/core/ib_core\tEXPORT\t\n"
OFED = "/usr/src/ofa_kernel/default"
PEERMEM = f"/lib/modules/{K}/updates/dkms/nvidia-peermem.ko"


def ofed(folder=OFED):
    return {f"{folder}/include/rdma/peer_mem.h": "", f"{folder}/Module.symvers": SYMVERS}


@pytest.mark.parametrize(
    "folder",
    [
        f"/usr/src/ofa_kernel/x86_64/{K}",
        f"/usr/src/ofa_kernel/{K}",
        OFED,
        "/var/lib/dkms/mlnx-ofed-kernel/5.8/build",
        f"/lib/modules/{K}/build",
    ],
)
def test_the_rdma_stack_is_found_in_each_of_its_layouts(tmp_path, folder):
    assert symbols.folder_of(planted(tmp_path, ofed(folder)), K) == folder


@pytest.mark.parametrize("lacking", ["include/rdma/peer_mem.h", "Module.symvers"])
def test_an_rdma_stack_without_its_files_is_none(tmp_path, lacking):
    files = ofed()
    del files[f"{OFED}/{lacking}"]
    with pytest.raises(Refusal, match="no RDMA stack is there that takes peer memory clients"):
        symbols.folder_of(planted(tmp_path, files), K)


def test_the_rdma_stack_s_modules_have_the_first_word(tmp_path):
    exports = [("ib_register_peer_memory_client", 1)]
    path = f"/lib/modules/{K}/updates/dkms/ib_core.ko"
    files = {**ofed(), path: elf.module(exports=exports)}
    found = symbols.providers(planted(tmp_path, files), K, OFED)
    assert [row.path for row in found] == [str(tmp_path) + path, f"{OFED}/Module.symvers"]
    assert found[0].exports == dict(exports)
    assert found[1].exports == {"ib_register_peer_memory_client": 0x95D78B19}


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ([(CLIENT, VERSION)], False),
        ([(CLIENT, VERSION + 1)], True),
        # Built without an RDMA stack: what it depends on tells that.
        ([("nvidia_p2p_get_pages", 1)], False),
    ],
)
def test_a_module_is_outdated_where_the_rdma_stack_has_its_symbols_in_other_versions(
    tmp_path, imports, expected
):
    """NVIDIA/gpu-operator#2868: nvidia_peermem: disagrees about version of symbol."""
    tree = planted(tmp_path, {**ofed(), PEERMEM: elf.module(imports=imports)})
    assert symbols.is_outdated(tree, PEERMEM, K) is expected


def test_a_symbol_that_the_rdma_stack_has_no_more_is_another_one(tmp_path):
    files = {**ofed(), PEERMEM: elf.module(imports=[("ib_unregister_peer_memory_client", 1)])}
    assert symbols.is_outdated(planted(tmp_path, files), PEERMEM, K)


@pytest.mark.parametrize("files", [ofed(), {PEERMEM: elf.module(imports=[(CLIENT, 1)])}])
def test_of_what_cannot_be_read_or_held_against_anything_nothing_is_said(tmp_path, files):
    assert not symbols.is_outdated(planted(tmp_path, files), PEERMEM, K)
