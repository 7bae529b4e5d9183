# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The facts of a host: what each is called, of which type it is, and what it says.

They are written here alone. The answer of a host that tells nothing, the check of an answer and
the page docs/facts.md follow from it.
"""

from __future__ import annotations

import functools
import typing
from typing import Annotated, Any, TypedDict


class Mount(TypedDict):
    """A file system that holds files."""

    mount: str
    fstype: str
    size_total: int
    size_available: int


class PathState(TypedDict):
    """What lies at a path."""

    kind: str
    empty: bool
    conda: bool
    unfinished: bool
    sha256: str


class Selinux(TypedDict):
    """SELinux, as far as files tell."""

    mode: str
    programs: list[str]


class Firewalld(TypedDict):
    """A firewalld that runs."""

    zone: str
    ports: list[str]


class Account(TypedDict):
    """An account of a user."""

    exists: bool
    uid: int
    home: str
    shell: str
    sudo: bool


#: Of which kind something is that is not as a component left it: the state of a unit, whether it
#: starts at boot, whether systemd has read its file, its process, the user of that, what changes it
#: besides; what was removed and is back (absence); the receipt itself.
DRIFT_KINDS = (
    *("unit-state", "unit-boot", "unit-reload", "unit-process", "unit-account", "drop-in"),
    *("user", "package", "file", "directory", "tree", "link", "environment", "absence", "receipt"),
)


class Drift(TypedDict):
    """A way in which a host differs from what a component left there.

    :ivar kind: one of DRIFT_KINDS.
    :ivar of: the path, unit, package or user.
    """

    kind: str
    of: str
    says: str


class Receipt(TypedDict):
    """What a component left behind once it was proven, and whether that is still so."""

    digest: str
    drift: list[Drift]
    names: list[str]
    notes: list[str]
    asked: dict[str, str]


class Listening(TypedDict):
    """A socket that somebody listens on."""

    address: str
    port: int
    pid: int
    process: str
    unit: str


# A field of the class syntax cannot be called "class".
Gpu = TypedDict(
    "Gpu",
    {
        "address": "str",
        "device": "str",
        "subsystem": "str",
        "class": "str",
        "driver": "str",
        "architecture": "str",
    },
)


class PciDevice(TypedDict):
    """A device on the PCI bus."""

    address: str
    device: str
    driver: str


class NvSwitch(PciDevice):
    """An NVSwitch."""


class RdmaPort(TypedDict):
    """A port of an RDMA device."""

    port: int
    state: str
    link_layer: str
    rate_gbps: int
    pkeys: list[str]


class RdmaDevice(TypedDict):
    """An RDMA device."""

    name: str
    address: str
    driver: str
    firmware: str
    board: str
    sriov_total: int
    sriov_active: int
    interfaces: list[str]
    ports: list[RdmaPort]


class Kernel(TypedDict):
    """A kernel on disk."""

    release: str
    running: bool
    next: bool
    headers: bool
    compiler: str
    compiler_found: bool


class SecureBoot(TypedDict):
    """What the firmware lets in."""

    efi: bool
    enabled: bool
    setup_mode: bool
    enforced: bool
    key: str
    key_enrolled: bool
    key_in_kernel: str
    rejected: str


class LoadedDriver(TypedDict):
    """The module nvidia in memory."""

    version: str
    open: bool


class Module(TypedDict):
    """A module of the driver's or of peer memory on disk."""

    kernel: str
    name: str
    path: str
    version: str
    open: bool
    depends: list[str]
    signer: str


class DkmsTree(TypedDict):
    """What DKMS has of a module for a kernel."""

    name: str
    version: str
    kernel: str
    state: str


class KeptDriver(TypedDict):
    """What a driver was installed from."""

    version: str
    path: str
    sha256: str


class Driver(TypedDict):
    """The NVIDIA driver, in memory and on disk."""

    loaded: LoadedDriver
    modules: list[Module]
    dkms: list[DkmsTree]
    libraries: list[str]
    runfile: str
    kept: list[KeptDriver]


class Package(TypedDict):
    """A package of the driver's or the RDMA family."""

    name: str
    version: str
    offered: str
    offered_by_security: bool


class SmiGpu(TypedDict):
    """What nvidia-smi says of a GPU."""

    address: str
    name: str
    mode: str
    license: str
    ecc_uncorrected: int
    retirement_pending: bool
    remapping_failed: bool
    sram_exceeded: bool
    fabric_state: str
    fabric_status: str
    fabric_health: str
    recovery_action: str
    complaints: list[str]


class NvidiaSmi(TypedDict):
    """What nvidia-smi says."""

    asked: bool
    answered: bool
    says: str
    driver_version: str
    cuda_version: str
    gpus: list[SmiGpu]


class FabricManager(TypedDict):
    """Fabric Manager and its unit."""

    version: str
    active: bool
    enabled: bool


class Licensing(TypedDict):
    """nvidia-gridd and what it was told."""

    unit: bool
    active: bool
    server: str
    tokens: list[str]
    feature_type: str
    says: str


class InKernelDriver(TypedDict):
    """A driver of the kernel's own for the same devices."""

    loaded: bool
    blacklisted: bool
    initramfs: list[str]


class InKernelDrivers(TypedDict):
    """The drivers of the kernel's own for NVIDIA's devices."""

    nouveau: InKernelDriver
    nova_core: InKernelDriver


class GpuClient(TypedDict):
    """A process that has a GPU's device open."""

    pid: int
    process: str
    unit: str
    devices: list[str]


class HeldModule(TypedDict):
    """A module of the driver that stays loaded whoever ends."""

    name: str
    permanent: bool
    above: list[str]
    clients: list[GpuClient]


class GpuFault(TypedDict):
    """A fault of a GPU in the kernel's log."""

    address: str
    xid: int
    says: str


class SwitchFault(TypedDict):
    """A fault of an NVSwitch in the kernel's log."""

    address: str
    sxid: int
    fatal: bool
    says: str


class RdmaStackKind(TypedDict):
    """Which RDMA stack it is."""

    kind: str
    version: str


class RdmaStack(RdmaStackKind):
    """The RDMA stack."""

    kernels: list[str]
    loaded: bool
    stale: bool
    idle: list[str]


class PeerMemory(TypedDict):
    """Peer memory and what it would be built with."""

    loaded: list[str]
    in_use: list[str]
    stale: list[str]
    clients: list[str]
    at_boot: list[str]
    headers: bool
    client_ex: bool
    outdated: list[str]


class Management(TypedDict):
    """What carries the connection of this run."""

    interface: str
    lower: list[str]
    drivers: dict[str, str]
    found_by: str


class Distribution(TypedDict):
    """Which distribution the host runs."""

    distribution: Annotated[str, "this and the next ten as Ansible's own facts have them"]
    distribution_release: str
    distribution_version: str
    distribution_major_version: str
    os_family: str


class Identity(Distribution):
    """Who the host is."""

    hostname: str
    kernel: str
    architecture: str
    pkg_mgr: str
    service_mgr: str
    python_version: str


class Basics(Identity):
    """Who the host is, and whether its kernel is its own."""

    own_kernel: Annotated[bool, "false in containers, chroots and image builds"]


class General(Basics):
    """Who the host is, and what is there of what was asked for."""

    processor_nproc: Annotated[
        int, "processors that services may use: those systemd may, in a container by its cpu.max"
    ]
    memtotal_mb: Annotated[int, "memory in MiB, in a container no more than its memory.max"]
    selinux: Annotated[
        Selinux,
        'mode is enforcing, permissive, disabled, or "" where there is none; programs are what the '
        "patterns begin with by which the host itself labels files as programs (bin_t)",
    ]
    firewalld: Annotated[
        Firewalld,
        'zone is the default one, "" where no firewalld runs; ports are those of TCP that it or '
        "another zone of the operator lets through",
    ]
    mounts: Annotated[list[Mount], "in bytes"]
    paths: Annotated[
        dict[str, PathState],
        "of the paths that were asked for; kind is absent, file, directory, link or other; sha256 "
        'is that of a small file, else ""',
    ]
    users: Annotated[dict[str, Account], "of the users that were asked for"]
    units: Annotated[
        dict[str, str], 'path of the file that systemd has of a unit that was asked for, or ""'
    ]
    listening: Annotated[
        list[Listening],
        "one row per owner; a socket systemd holds is owned by its .socket unit; a unix socket has "
        "its path as address, and port 0",
    ]
    receipts: Annotated[
        dict[str, Receipt],
        "by component; drift has a row for each thing that is not as it was left: kind is "
        f"{', '.join(DRIFT_KINDS)}, of the path, unit, package or user; names are those of the "
        "things ever placed and not removed since; notes tell what is not ours, was "
        "there at the proof, and matters; asked has a short digest of each part of what was asked "
        "for",
    ]


class Devices(TypedDict):
    """What is plugged in."""

    virtualization: Annotated[
        str, '"" on bare metal, else as systemd-detect-virt calls it (kvm, vmware, xen, ...)'
    ]
    gpus: Annotated[
        list[Gpu],
        'one row per NVIDIA GPU; subsystem is "vendor:device"; class is 0300 or 0302; driver is '
        'the kernel driver that is bound to it ("nvidia", "nouveau", "vfio-pci", ""); architecture '
        'is one of architectures.NAMES, or ""',
    ]
    nvswitches: list[NvSwitch]
    rdma_devices: Annotated[
        list[RdmaDevice],
        'state as sysfs has it without the number ("ACTIVE"); link_layer "InfiniBand" or '
        '"Ethernet"; pkeys without the empty entries, as 0x and four digits',
    ]


class Kernels(TypedDict):
    """What the host boots."""

    kernels: Annotated[
        list[Kernel],
        "those with modules on disk that can boot or be built for, newest version first; next is "
        "the one that GRUB or systemd-boot will start, or a link /vmlinuz leads to, and none where "
        'that cannot be told; compiler is the one it was built with ("gcc-12"), and '
        "compiler_found whether a compiler of that name and major version is there",
    ]
    secure_boot: Annotated[
        SecureBoot,
        "enforced is whether the kernel itself takes signed modules alone (module.sig_enforce, "
        'lockdown). key is the path of the certificate with which this host\'s DKMS signs, "" '
        "where it has none; key_in_kernel is whether the kernel has it among its keys: yes, no, or "
        '"" for unknown. rejected is what the kernel said last since boot of a module that it did '
        "not take for its signature",
    ]


class TheDriver(TypedDict):
    """The NVIDIA driver."""

    driver: Annotated[
        Driver,
        'loaded.version is "" where no module is loaded. modules are all nvidia*.ko* and '
        "nv_peer_mem.ko* on disk below /lib/modules, names as the kernel writes them "
        "(nvidia_peermem); open is that of nvidia.ko for all of a kernel. dkms is every tree below "
        '/var/lib/dkms whatever it belongs to; state is added, built or installed, kernel "" for '
        "added. libraries are the versions of libcuda.so and libnvidia-ml.so that are on disk. "
        'runfile is the version that a .run installed, "" where none did. kept is what the driver '
        "was installed from and the one before it, the installed one first: a .run with its "
        'sha256, or a folder of packages, whose sha256 is ""',
    ]
    packages: Annotated[
        list[Package],
        "installed packages of the NVIDIA driver's and the RDMA family, sorted by name; offered is "
        "a newer version that the package lists name and that is not installed, whatever pins say, "
        'but for one that the archive stopped; "" where none',
    ]
    nvidia_smi: Annotated[
        NvidiaSmi,
        "asked only where the module is loaded, for 10 s at most. says is what it printed instead "
        'of an answer. mode is "none", "passthrough" or "vgpu", "" where it does not say; license '
        'is its License Status ("Licensed (Expiry: ...)", "Unlicensed"), "" where it has none. '
        "retirement_pending is whether anything broken waits for a reset to be retired or "
        "repaired, sram_exceeded whether its caches had more errors than the vendor accepts. "
        'fabric_state is "Completed" where its NVLinks may be used, fabric_status then "Success"; '
        'fabric_health is "Healthy" or what else is said, recovery_action "None" or what the GPU '
        'waits for ("Reset", "Reboot", "Drain P2P", "Drain and Reset"); all of them "" where not '
        'told. complaints are what stands in place of values where the GPU gives none ("GPU is '
        'lost", "Unknown Error")',
    ]
    fabric_manager: FabricManager
    licensing: Annotated[
        Licensing,
        "unit is whether nvidia-gridd.service is there; tokens are file names; says is the last "
        "line of the daemon's log that speaks of a license, behind the line that says why there is "
        "none",
    ]
    in_kernel_drivers: Annotated[
        InKernelDrivers, "initramfs are the kernels whose initramfs holds the driver"
    ]
    gpu_clients: Annotated[list[GpuClient], "who has /dev/nvidia* open"]
    held_modules: Annotated[
        list[HeldModule],
        "the driver's modules that would stay loaded when these had ended: a permanent one the "
        "kernel does not unload; above are modules of others that stand on it; else it is in use, "
        "and clients are those who have a display open, none where nobody is seen (a console)",
    ]
    gpu_faults: Annotated[
        list[GpuFault],
        "from the kernel's log since boot, one row per GPU and Xid with what was said last; xid 0 "
        "for what has no number: a GPU that fell off the bus, that the driver could not initialize "
        'or does not support, a row each; says is the driver\'s line; address is "" where none is '
        "named",
    ]
    faults_unknown: Annotated[
        bool,
        "whether there may be faults that nobody could read of: there is a device of NVIDIA's or "
        "its driver, and no log of the kernel's",
    ]
    switch_faults: Annotated[
        list[SwitchFault],
        "the same of NVSwitches, one row per NVSwitch and SXid; fatal as the driver says itself",
    ]
    drained: Annotated[
        list[str], "units that an exchange of the driver stopped, and nobody started again since"
    ]


class Rdma(TypedDict):
    """RDMA and peer memory."""

    rdma_stack: Annotated[
        RdmaStack,
        'kind is "mlnx_ofed", "doca" or "inbox"; version as ofed_info has it, without the name and '
        'the colon, or the package of the modules where there is none; "" for inbox, and where '
        "nothing tells. kernels are those for which a vendor's RDMA core is on disk, newest first; "
        "none for inbox. loaded is whether the RDMA core (ib_core) is loaded in the host's own "
        "kernel, and stale whether it is another build than modprobe would load for it now; idle "
        "the adapters, by address, that mlx5_core would drive and no driver has",
    ]
    peer_memory: Annotated[
        PeerMemory,
        "of nv_peer_mem and nvidia_peermem those loaded, of these those that somebody uses and "
        "those that are another build than the one on disk, and those in modules-load.d; clients "
        "as registered with the RDMA core; headers is whether the RDMA stack's sources name "
        "ib_register_peer_memory_client, client_ex whether they have struct peer_memory_client_ex, "
        "which nv_peer_mem needs since 1.2-0; outdated are the kernels whose nvidia_peermem was "
        "built with symbols that the RDMA stack has in other versions",
    ]
    management: Annotated[
        Management,
        'what carries the connection that this very run comes in on: found_by "ssh", else "route" '
        "for the default route; lower are the devices below it, through bonds, bridges and VLANs, "
        "itself included; drivers are those of the hardware among them",
    ]


class GpuHost(Devices, Kernels, TheDriver, Rdma):
    """What is to be seen of GPUs, driver, kernels and RDMA: facts.gpu_host."""


class Surveyed(Basics, GpuHost):
    """What the module of a component sees of a host: Node.survey of component/bring.py."""


class Facts(General, GpuHost):
    """All facts of a host: gpunode_facts."""


# The parts of the page, in its order.
PARTS = (General, Devices, Kernels, TheDriver, Rdma)
# Where nothing is not "", [], 0 or false.
# What a number that is counted or measured has at the most; a larger one is no float either.
_BITS = 64
_NOTHING = {RdmaStack: {"kind": "inbox"}}


def empty(shape: Any) -> Any:
    """Return what a host says that tells nothing; anew at each call.

    :param shape: one of the types above, or of those in them.
    """
    if not _is_record(shape):
        return (typing.get_origin(shape) or shape)()
    return {
        **{name: empty(field) for name, (field, _says) in fields(shape).items()},
        **_NOTHING.get(shape, {}),
    }


@functools.cache
def fields(shape: Any) -> dict[str, tuple[Any, str]]:
    """Return {name: (type, what is said of it)} of a record, in the order it is written in."""
    found = {}
    for name, hint in typing.get_type_hints(shape, include_extras=True).items():
        says = getattr(hint, "__metadata__", ("",))[0]
        found[name] = (getattr(hint, "__origin__", hint) if says else hint, says)
    return found


def misfits(value: Any, shape: Any, where: str = "") -> list[str]:
    """Return what keeps a value from having a shape, a sentence each.

    :param where: what the value is called.
    """
    if _is_record(shape):
        return _misfits_of_record(value, fields(shape), where)
    outer = typing.get_origin(shape) or shape
    if outer is Any:
        return []
    # In Python a truth value is a number, too.
    if not isinstance(value, outer) or isinstance(value, bool) != (outer is bool):
        return [f"{where} is {value!r}, no {outer.__name__}"]
    if outer is int and abs(value) >> _BITS:
        return [f"{where} is a number of more than {_BITS} bits"]
    inner = typing.get_args(shape)[-1:]
    parts = value.items() if outer is dict else enumerate(value) if outer is list else ()
    return [
        found
        for key, item in parts
        for part in inner
        for found in misfits(item, part, f"{where}[{key}]")
    ]


def _misfits_of_record(value: Any, wanted: dict[str, tuple[Any, str]], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, no dict"]
    missing = [f"{where}.{key} is missing" for key in wanted if key not in value]
    unknown = [f"{where}.{key} is no fact" for key in value if key not in wanted]
    return [
        *missing,
        *unknown,
        *(
            found
            for key, (field, _says) in wanted.items()
            if key in value
            for found in misfits(value[key], field, f"{where}.{key}")
        ),
    ]


def called(shape: Any) -> str:
    """Return a type as the page writes it: {version: str, open: bool}."""
    if _is_record(shape):
        parts = [f"{name}: {called(field)}" for name, (field, _says) in fields(shape).items()]
        return f"{{{', '.join(parts)}}}"
    outer, inner = typing.get_origin(shape), typing.get_args(shape)
    if outer is list:
        return f"[{called(inner[0])}]"
    if outer is dict:
        return f"{{str: {called(inner[1])}}}"
    return str(shape.__name__)


def _is_record(shape: Any) -> bool:
    return hasattr(shape, "__total__")
