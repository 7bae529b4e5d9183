# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a peer memory module would load: held against the driver and the RDMA stack as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..kernel.module_file import KernelModule
from ..refusal import Refusal


class Provider(NamedTuple):
    """What exports symbols: the path that says so, and {symbol: its version or None}."""

    path: str
    exports: dict[str, int | None]


#: What a module imports that does anything for the RDMA stack. The mappings are left out where
#: nv_peer_mem is built without the header of the driver (nv_peer_memory 1.1-0, nv_peer_mem.c,
#: NV_DMA_MAPPING); the clients where nvidia_peermem is built without an RDMA stack
#: (NVIDIA/open-gpu-kernel-modules, kernel-open/nvidia-peermem/nvidia-peermem.c,
#: NV_MLNX_IB_PEER_MEM_SYMBOLS_PRESENT).
REQUIRED = {
    "nv_peer_mem": (
        "ib_register_peer_memory_client",
        "ib_unregister_peer_memory_client",
        "nvidia_p2p_dma_map_pages",
        "nvidia_p2p_get_pages",
    ),
    "nvidia_peermem": ("ib_register_peer_memory_client", "ib_unregister_peer_memory_client"),
}
_OF_OTHERS = ("nvidia_p2p_", "ib_")


def misfits(
    module: KernelModule, name: str, release: str, driver: KernelModule, others: Iterable[Provider]
) -> list[str]:
    """Return a sentence for each reason why a module would not load; [] where there is none.

    :param module: the module_file.KernelModule.
    :param name: the name of the module: a key of REQUIRED.
    :param release: the release of the kernel that is to load it.
    :param driver: the KernelModule of the driver for that kernel, nvidia.ko.
    :param others: the Providers of the RDMA stack.
    """
    providers = [Provider(driver.path, driver.exports), *others]
    found = _of_another_kernel(module, release, driver)
    found += [f"it does not use {name}" for name in REQUIRED[name] if name not in module.imports]
    return found + mismatches(module, _OF_OTHERS, providers)


def mismatches(
    module: KernelModule, prefixes: tuple[str, ...], providers: Sequence[Provider]
) -> list[str]:
    """Return a sentence for each symbol that a module wants and would not get.

    :param module: the module_file.KernelModule.
    :param prefixes: a tuple of what the names of those symbols begin with.
    :param providers: the Providers.
    """
    return [
        says
        for symbol, version in sorted(module.imports.items())
        if symbol.startswith(prefixes)
        for says in _mismatch(symbol, version, providers)
    ]


def refuse_misfits(
    module: KernelModule, name: str, release: str, driver: KernelModule, others: Iterable[Provider]
) -> None:
    """Refuse a module that would not load; see :func:`misfits`.

    :raises Refusal: it names each symbol that differs, with both versions.
    """
    found = misfits(module, name, release, driver, others)
    if found:
        raise Refusal(
            f"{name} for kernel {release}",
            f"it would not load: {'; '.join(found)}",
            "Nothing was installed. Bring driver and RDMA stack to what they are to be for this "
            "kernel, in this order RDMA stack, driver, peer memory, and run again",
        )


def _of_another_kernel(module: KernelModule, release: str, driver: KernelModule) -> list[str]:
    magic, drivers = module.info.get("vermagic", ""), driver.info.get("vermagic", "")
    if magic.partition(" ")[0] != release:
        return [f"it is for kernel {magic.partition(' ')[0] or 'none that it names'}"]
    if magic != drivers:
        return [f"its vermagic is {magic!r}, and {drivers!r} in {driver.path}"]
    return []


def _mismatch(symbol: str, version: int | None, providers: Sequence[Provider]) -> list[str]:
    """Return what keeps the kernel from giving a module one symbol, as check_version() has it.

    Linux, kernel/module/version.c: who exports without a version is not asked for one.
    """
    provider = next((row for row in providers if symbol in row.exports), None)
    if provider is None:
        places = ", ".join(row.path for row in providers)
        return [f"{symbol} is exported by none of {places}"]
    exported = provider.exports[symbol]
    if exported in (None, version):
        return []
    demanded = "no version" if version is None else f"version 0x{version:08x}"
    return [f"it wants {symbol} in {demanded}, and {provider.path} has 0x{exported:08x}"]
