"""Whether a peer memory module would load, from small modules in the layouts of all kernels."""

from __future__ import annotations

import elf
import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import module_file
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import module_fit
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

K1, K2 = "6.1.0-56-amd64", "6.1.0-40-amd64"
FLAGS = " SMP preempt mod_unload modversions "
DRIVER = [
    ("nvidia_p2p_get_pages", 0x5B3F3E79),
    ("nvidia_p2p_put_pages", 0x642487AC),
    ("nvidia_p2p_dma_map_pages", 0x1CF161A5),
]
CLIENTS = [
    ("ib_register_peer_memory_client", 0x95D78B19),
    ("ib_unregister_peer_memory_client", 0xBDE5C050),
]
OFED = module_fit.Provider("/usr/src/ofa_kernel/default/Module.symvers", dict(CLIENTS))


def module(path="nv_peer_mem.ko", vermagic=K1 + FLAGS, **parts):
    info = [("vermagic", vermagic)]
    return module_file.KernelModule(elf.module(info=info, **parts), path)


def misfits(imports, layout="__kcrctab", exports=None, others=(OFED,), **built):
    exported = DRIVER if exports is None else exports
    driver = module("/lib/modules/nvidia.ko", exports=exported, layout=layout)
    built = module(imports=imports, **built)
    return module_fit.misfits(built, "nv_peer_mem", K1, driver, others)


@pytest.mark.parametrize("layout", ["absolute", "__kcrctab", ".rodata"])
def test_a_module_fits_that_was_built_for_what_is_there(layout):
    assert misfits(DRIVER + CLIENTS, layout) == []


def test_places_that_were_taken_for_versions_are_told():
    offsets = [(symbol, 0x10C + 4 * number) for number, (symbol, _v) in enumerate(DRIVER)]
    found = misfits(offsets + CLIENTS)
    assert len(found) == len(DRIVER)
    assert (
        "it wants nvidia_p2p_get_pages in version 0x0000010c, and /lib/modules/nvidia.ko has "
        "0x5b3f3e79" in found
    )


def test_an_rdma_stack_that_changed_since_is_told():
    newer = OFED._replace(exports={**OFED.exports, CLIENTS[0][0]: 1})
    (says,) = misfits(DRIVER + CLIENTS, others=[newer])
    assert all(word in says for word in (CLIENTS[0][0], "0x95d78b19", "0x00000001", newer.path))


def test_a_symbol_that_nobody_exports_is_told():
    (says,) = misfits(DRIVER + CLIENTS, exports=DRIVER[:2])
    assert (
        "nvidia_p2p_dma_map_pages is exported by none of /lib/modules/nvidia.ko, /usr/src" in says
    )


def test_an_import_without_a_version_does_not_load_where_there_is_one():
    (says,) = misfits([(DRIVER[0][0], None), *DRIVER[1:], *CLIENTS])
    assert "it wants nvidia_p2p_get_pages in no version" in says


def test_who_exports_without_versions_takes_any():
    unversioned = [(symbol, None) for symbol, _version in DRIVER]
    assert misfits(DRIVER + CLIENTS, exports=unversioned) == []


def test_symbols_of_the_kernel_are_the_build_s_own_affair():
    assert misfits([*DRIVER, *CLIENTS, ("kfree", 2)]) == []


def test_a_module_built_without_the_header_of_the_driver_is_told():
    without = [row for row in DRIVER if "dma_map" not in row[0]]
    assert misfits(without + CLIENTS) == ["it does not use nvidia_p2p_dma_map_pages"]


def test_a_peermem_built_without_the_rdma_stack_is_told():
    driver = module("nvidia.ko", exports=DRIVER)
    found = module_fit.misfits(
        module("nvidia-peermem.ko", imports=DRIVER[:1]), "nvidia_peermem", K1, driver, [OFED]
    )
    assert found == [f"it does not use {symbol}" for symbol, _version in CLIENTS]


@pytest.mark.parametrize(
    ("vermagic", "says"),
    [
        (K2 + FLAGS, f"it is for kernel {K2}"),
        ("", "it is for kernel none that it names"),
        (K1 + " SMP mod_unload ", f"its vermagic is '{K1} SMP mod_unload '"),
    ],
)
def test_a_module_of_another_kernel_is_told(vermagic, says):
    (found,) = misfits(DRIVER + CLIENTS, vermagic=vermagic)
    assert found.startswith(says)


def test_a_misfit_is_refused_with_all_there_is_to_say():
    driver = module("nvidia.ko", exports=DRIVER)
    arguments = ("nv_peer_mem", K1, driver, [OFED])
    with pytest.raises(Refusal, match="it would not load") as caught:
        module_fit.refuse_misfits(module(imports=CLIENTS), *arguments)
    assert caught.value.what == f"nv_peer_mem for kernel {K1}"
    assert "nvidia_p2p_get_pages" in caught.value.because
    module_fit.refuse_misfits(module(imports=DRIVER + CLIENTS), *arguments)
