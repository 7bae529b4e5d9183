"""RDMA devices, the stack that drives them, and peer memory, from small trees."""

from __future__ import annotations

import lzma

import elf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import rdma_stack

MLX5 = "/sys/class/infiniband/mlx5_0"
PORT = f"{MLX5}/ports/1"
FILES = {
    f"{MLX5}/fw_ver": "28.39.3560\n",
    f"{MLX5}/board_id": "MT_0000000838\n",
    f"{PORT}/state": "4: ACTIVE\n",
    f"{PORT}/link_layer": "InfiniBand\n",
    f"{PORT}/rate": "400 Gb/sec (4X NDR)\n",
    f"{PORT}/pkeys/0": "0xffff\n",
    f"{PORT}/pkeys/2": "0x8001\n",
    f"{PORT}/pkeys/10": "0x8002\n",
    f"{PORT}/pkeys/11": "0x0000\n",
    "/sys/devices/0000:5e:00.0/sriov_totalvfs": "16\n",
    "/sys/devices/0000:5e:00.0/sriov_numvfs": "2\n",
    "/sys/devices/0000:5e:00.0/net/ibs1/mtu": "2044\n",
}
LINKS = {
    f"{MLX5}/device": "../../../devices/0000:5e:00.0",
    "/sys/devices/0000:5e:00.0/driver": "../../bus/pci/drivers/mlx5_core",
}
OFED_INFO = {"/usr/bin/ofed_info": ""}
HEADERS = "0x00000000\tib_register_peer_memory_client\tdrivers/infiniband/core/ib_core\tEXPORT\t\n"


def test_a_device_is_told_with_its_ports_its_partitions_and_its_interfaces(tmp_path):
    assert rdma_stack.devices(planted(tmp_path, FILES, LINKS)) == [
        {
            "name": "mlx5_0",
            "address": "0000:5e:00.0",
            "driver": "mlx5_core",
            "firmware": "28.39.3560",
            "board": "MT_0000000838",
            "sriov_total": 16,
            "sriov_active": 2,
            "interfaces": ["ibs1"],
            "ports": [
                {
                    "port": 1,
                    "state": "ACTIVE",
                    "link_layer": "InfiniBand",
                    "rate_gbps": 400,
                    "pkeys": ["0xffff", "0x8001", "0x8002"],
                }
            ],
        }
    ]


def test_a_port_that_is_down_and_slow_is_told(tmp_path):
    files = {f"{PORT}/state": "1: DOWN\n", f"{PORT}/rate": "2.5 Gb/sec (1X SDR)\n"}
    ((port,),) = (row["ports"] for row in rdma_stack.devices(planted(tmp_path, files)))
    assert (port["state"], port["rate_gbps"], port["pkeys"]) == ("DOWN", 2, [])


def test_a_device_that_is_no_pci_function_has_no_address(tmp_path):
    (row,) = rdma_stack.devices(planted(tmp_path, {"/sys/class/infiniband/rxe0/fw_ver": ""}))
    assert (row["address"], row["driver"], row["sriov_total"], row["interfaces"]) == ("", "", 0, [])


@pytest.mark.parametrize(
    ("answer", "stack"),
    [
        ("MLNX_OFED_LINUX-4.3-1.0.1.0:\n", ("mlnx_ofed", "4.3-1.0.1.0")),
        ("MLNX_OFED_LINUX-24.10-1.1.4.0:", ("mlnx_ofed", "24.10-1.1.4.0")),
        ("OFED-internal-25.10-1.7.1:\n", ("doca", "25.10-1.7.1")),
        ("OFED-internal-24.10-1.1.4.0.200:\n", ("doca", "24.10-1.1.4.0.200")),
        ("something-1.2:\n", ("inbox", "")),
        ("-:\n", ("inbox", "")),
        ("", ("inbox", "")),
    ],
)
def test_the_stack_is_the_one_that_ofed_info_names(tmp_path, answer, stack):
    tree = planted(tmp_path, OFED_INFO, answers={"ofed_info": answer})
    assert tuple(rdma_stack.stack(tree, []).values()) == stack


@pytest.mark.parametrize(
    ("package", "kind"),
    [
        ("doca-ofed", "doca"),
        ("doca-networking", "doca"),
        ("doca-ofed-generic", "doca"),
        ("linux-modules-doca-ofed-3.4-generic", "doca"),
        ("linux-modules-extra-7.0.0-31-generic", "inbox"),
        ("doca-host", "inbox"),
        ("rdma-core", "inbox"),
    ],
)
def test_without_ofed_info_an_installed_profile_of_doca_tells(tmp_path, package, kind):
    packages = [{"name": name, "version": "1-1"} for name in ("libibverbs1", package)]
    assert rdma_stack.stack(planted(tmp_path), packages) == {"kind": kind, "version": ""}


@pytest.mark.parametrize(
    ("package", "version", "told"),
    [
        ("mlnx-ofed-kernel-dkms", "25.10.OFED.25.10.1.7.1.1-1", "25.10-1.7.1"),
        ("mlnx-ofed-kernel-modules", "24.10.OFED.24.10.3.2.5.1-1.kver.6.1.0-56", "24.10-3.2.5"),
        ("mlnx-ofa_kernel", "26.04-OFED.26.04.0.8.5.1.el9", "26.04-0.8.5"),
        ("mlnx-ofed-kernel-dkms", "26.10-1", ""),
        ("mlnx-ofed-kernel-dkms", "25.10.OFED.25.07.1.7.1.1-1", ""),
        ("mlnx-tools", "25.10.OFED.25.10.1.7.1.1-1", ""),
    ],
)
def test_without_ofed_info_the_package_of_the_modules_tells_the_version(
    tmp_path, package, version, told
):
    packages = [{"name": "doca-ofed", "version": "4-1"}, {"name": package, "version": version}]
    assert rdma_stack.stack(planted(tmp_path), packages) == {"kind": "doca", "version": told}


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        ({"doca-ofed-generic": "26.01-0ubuntu1"}, "26.01"),
        ({"doca-ofed-generic": "26.01.0.8.2+dfsg-0ubuntu1~26.04"}, "26.01"),
        ({"doca-ofed-azure-fde": "1:26.04-1"}, "26.04"),
        ({"doca-ofed-26.01-dkms": "26.01.0-0ubuntu1"}, "26.01"),
        ({"doca-ofed-generic": "7.0.0.14", "linux-modules-doca-ofed-26.01-generic": "7.0.0-14.14"},
         "26.01"),
        ({"linux-modules-doca-ofed-26.01-unsigned-generic-hwe-26.04": "7.0.0-29.29"}, "26.01"),
        # The version of a kernel, and that of DOCA, which is another one.
        ({"doca-ofed-generic": "7.0.0.14.14"}, ""),
        ({"doca-ofed": "3.2.1-044413", "doca-ofed-userspace-3.3": "3.3.0-1"}, ""),
    ],
)  # fmt: skip
def test_packages_of_canonical_tell_the_series(tmp_path, packages, told):
    rows = [{"name": name, "version": version} for name, version in packages.items()]
    assert rdma_stack.stack(planted(tmp_path), rows) == {"kind": "doca", "version": told}


def test_where_there_is_no_ofed_info_it_is_not_tried(tmp_path):
    tree = planted(tmp_path, answers={"ofed_info": "MLNX_OFED_LINUX-4.3-1.0.1.0:\n"})
    assert rdma_stack.stack(tree, [])["kind"] == "inbox"


NEW, OLD = "6.1.0-40-amd64", "6.1.0-9-amd64"
OWN = "kernel/drivers/infiniband/core/ib_core.ko"
DKMS = "updates/dkms/ib_core.ko"
PACKAGED = "updates/drivers/infiniband/core/ib_core.ko"
EXTRA = "extra/mlnx-ofa_kernel/drivers/infiniband/core/ib_core.ko"
WEAK = "weak-updates/mlnx-ofa_kernel/drivers/infiniband/core/ib_core.ko"


def on_disk(*paths, release=NEW, data=b""):
    return {f"/lib/modules/{release}/{path}": data for path in paths}


@pytest.mark.parametrize("path", [DKMS, PACKAGED, EXTRA])
@pytest.mark.parametrize("ending", ["", ".xz", ".zst", ".gz"])
def test_a_vendors_core_is_found_beside_the_kernels_own(tmp_path, path, ending):
    tree = planted(tmp_path, on_disk(OWN, f"{path}{ending}"))
    assert rdma_stack.vendor_cores(tree) == [f"/lib/modules/{NEW}/{path}{ending}"]
    assert rdma_stack.kernels_of(tree) == [NEW]


def test_a_core_that_is_another_kernels_is_found_by_its_link(tmp_path):
    links = {f"/lib/modules/{NEW}/{WEAK}": f"/lib/modules/{OLD}/{EXTRA}"}
    tree = planted(tmp_path, {**on_disk(OWN), **on_disk(EXTRA, release=OLD)}, links)
    assert rdma_stack.kernels_of(tree) == [NEW, OLD]


@pytest.mark.parametrize(
    "path",
    [OWN, "kernel/extra/ib_core.ko", "updates/ib_core.ko.bak", "updates/mlx5_ib.ko", "build/x"],
)
def test_the_kernels_own_core_and_other_files_are_no_vendors(tmp_path, path):
    assert rdma_stack.kernels_of(planted(tmp_path, on_disk(path))) == []


def test_a_link_to_a_core_that_is_gone_is_none(tmp_path):
    links = {f"/lib/modules/{NEW}/{WEAK}": f"/lib/modules/{OLD}/{EXTRA}"}
    assert rdma_stack.kernels_of(planted(tmp_path, on_disk(OWN), links)) == []


def test_a_kernel_with_two_cores_is_named_once_and_the_newest_first(tmp_path):
    files = {**on_disk(DKMS, EXTRA), **on_disk(DKMS, release=OLD)}
    assert rdma_stack.kernels_of(planted(tmp_path, files)) == [NEW, OLD]
    assert rdma_stack.kernels_of(planted(tmp_path / "none")) == []


SYSFS = "/sys/module/ib_core"
LOADED = {"/proc/modules": "mlx5_ib 1 0 - Live 0x0\nib_core 2 1 mlx5_ib, Live 0x0 (OE)\n"}
ONE, OTHER = elf.note(b"\x01" * 20), elf.note(b"\x02" * 20)


def core(notes=b"", srcversion=""):
    """Return the bytes of an ib_core.ko."""
    return elf.module(info=[("srcversion", srcversion)] if srcversion else [], notes=notes)


def running(notes=b"", srcversion="", dep=DKMS, data=b"", loaded=None):
    """Return the files of a host whose core is loaded, and another one on disk maybe."""
    files = {
        **(LOADED if loaded is None else loaded),
        f"{SYSFS}/notes/.note.gnu.build-id": notes,
        f"/lib/modules/{NEW}/modules.dep": f"kernel/a/xib_core.ko:\n{dep}: kernel/b/c.ko\n",
        **on_disk(dep, data=data),
    }
    return {**files, f"{SYSFS}/srcversion": f"{srcversion}\n"} if srcversion else files


@pytest.mark.parametrize(
    ("loaded", "disk", "is_stale"),
    [
        ((ONE, ""), (ONE, ""), False),
        ((ONE, ""), (OTHER, ""), True),
        # Where the build tells, the sources do not: they may be the same, built for another core.
        ((ONE, "A1"), (OTHER, "A1"), True),
        ((ONE, "A1"), (ONE, "B2"), False),
        ((b"", "A1"), (OTHER, "A1"), False),
        ((b"", "A1"), (OTHER, "B2"), True),
        ((ONE, "A1"), (b"", "B2"), True),
        ((ONE, "A1"), (b"", ""), False),
        ((ONE, ""), (b"", "B2"), False),
        ((b"", ""), (b"", ""), False),
    ],
)
def test_a_core_is_stale_where_another_build_would_be_loaded_now(tmp_path, loaded, disk, is_stale):
    tree = planted(tmp_path, running(*loaded, data=core(*disk)))
    assert rdma_stack.is_stale(tree, NEW) is is_stale


def test_the_core_on_disk_is_the_one_that_modprobe_would_load(tmp_path):
    files = {**running(ONE, data=core(OTHER)), **on_disk(OWN, EXTRA, data=core(ONE))}
    assert rdma_stack.is_stale(planted(tmp_path, files), NEW) is True
    own = {**running(ONE, dep=OWN, data=core(ONE)), **on_disk(DKMS, data=core(OTHER))}
    assert rdma_stack.is_stale(planted(tmp_path / "own", own), NEW) is False


@pytest.mark.parametrize("pack", [lzma.compress, lambda data: b"\x28\xb5\x2f\xfd" + data])
def test_a_packed_core_is_unpacked(tmp_path, pack):
    files = running(ONE, dep=f"{DKMS}.zst", data=pack(core(OTHER)))
    tree = planted(tmp_path, files, answers={"zstd": core(OTHER)})
    assert rdma_stack.is_stale(tree, NEW) is True


@pytest.mark.parametrize(
    "changes",
    [
        {"/proc/modules": "mlx5_ib 1 0 - Live 0x0\nxib_core 1 0 - Live 0x0\n"},
        {f"/lib/modules/{NEW}/modules.dep": f"{PACKAGED}:\n"},
        {f"/lib/modules/{NEW}/modules.dep": "kernel/a/xib_core.ko:\n"},
        {f"/lib/modules/{NEW}/{DKMS}": b"\x28\xb5\x2f\xfd"},
        {f"/lib/modules/{NEW}/{DKMS}": core(OTHER)[:300]},
    ],
    ids=["not loaded", "gone from disk", "nothing to load", "no zstd", "cut off"],
)
def test_where_nothing_can_be_compared_nothing_is_stale(tmp_path, changes):
    tree = planted(tmp_path, {**running(ONE, data=core(OTHER)), **changes})
    assert rdma_stack.is_stale(tree, NEW) is False


def test_a_stack_is_told_with_its_kernels_and_with_what_is_loaded(tmp_path):
    files = {**running(ONE, data=core(OTHER)), **OFED_INFO}
    tree = planted(tmp_path, files, answers={"ofed_info": "MLNX_OFED_LINUX-4.3-1.0.1.0:\n"})
    found = {"kind": "mlnx_ofed", "version": "4.3-1.0.1.0", "kernels": [NEW]}
    assert rdma_stack.survey(tree, [], NEW) == {**found, "loaded": True, "stale": True, "idle": []}
    # A container sees what the kernel under it has loaded, which is not its own.
    assert rdma_stack.survey(tree, [], "") == {**found, "loaded": False, "stale": False, "idle": []}


def test_the_distributions_own_stack_has_no_kernels_of_a_vendors(tmp_path):
    found = rdma_stack.survey(planted(tmp_path, running(ONE, data=core(OTHER))), [], NEW)
    assert (found["kind"], found["kernels"], found["stale"]) == ("inbox", [], True)


def test_peer_memory_modules_and_clients_that_are_there_are_told(tmp_path):
    files = {
        "/proc/modules": "nvidia_peermem 16384 0 - Live 0x0\nnvidia 1 1 nvidia_peermem, Live 0x0\n",
        "/sys/kernel/mm/memory_peers/nv_mem/version": "1.1-0\n",
    }
    state = rdma_stack.peer_memory(planted(tmp_path, files), [], NEW)
    assert (state["loaded"], state["clients"]) == (["nvidia_peermem"], ["nv_mem"])


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        ({"/etc/modules-load.d/nvidia-peermem.conf": "nvidia-peermem\n"}, ["nvidia_peermem"]),
        ({"/usr/lib/modules-load.d/gpu.conf": "# both\nnv_peer_mem\n nvidia_peermem\n"},
         ["nv_peer_mem", "nvidia_peermem"]),
        ({"/run/modules-load.d/a.conf": "nv_peer_mem\n"}, ["nv_peer_mem"]),
        ({"/etc/modules": "loop\nnv_peer_mem\n"}, ["nv_peer_mem"]),
        ({"/etc/modules-load.d/a.conf": "#nv_peer_mem\n;nv_peer_mem\n"}, []),
        ({"/etc/modules-load.d/a.conf.bak": "nv_peer_mem\n"}, []),
        ({"/usr/lib/modules-load.d/a.conf": "nv_peer_mem\n", "/etc/modules-load.d/a.conf": ""}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_a_peer_memory_module_is_loaded_at_boot_where_systemd_or_debian_is_told_so(
    tmp_path, files, modules
):
    assert rdma_stack.peer_memory(planted(tmp_path, files), [], NEW)["at_boot"] == modules


@pytest.mark.parametrize(
    "folder",
    [
        "/usr/src/ofa_kernel/default",
        "/usr/src/ofa_kernel/6.1.0-40-amd64",
        "/usr/src/ofa_kernel/x86_64/6.1.0-40-amd64",
        "/var/lib/dkms/mlnx-ofed-kernel/24.10/build",
        "/lib/modules/5.15.0-25-generic/build",
    ],
)
def test_headers_are_there_where_the_build_of_the_driver_would_find_them(tmp_path, folder):
    files = {
        "/proc/sys/kernel/osrelease": "5.15.0-25-generic\n",
        f"{folder}/Module.symvers": f"0x1\tib_open\tib_core\tEXPORT_SYMBOL\t\n{HEADERS}",
    }
    assert rdma_stack.peer_memory(planted(tmp_path, files), [], NEW)["headers"] is True


@pytest.mark.parametrize(
    ("header", "has"),
    [("struct  peer_memory_client_ex {", True), ("struct peer_memory_client {", False)],
)
def test_clients_of_the_newer_kind_are_told_by_the_header(tmp_path, header, has):
    folder = "/usr/src/ofa_kernel/default"
    files = {f"{folder}/Module.symvers": HEADERS, f"{folder}/include/rdma/peer_mem.h": header}
    assert rdma_stack.peer_memory(planted(tmp_path, files), [], NEW)["client_ex"] is has


@pytest.mark.parametrize(
    ("on_disk_now", "running", "stale"),
    [(ONE, NEW, []), (OTHER, NEW, ["nv_peer_mem"]), (OTHER, "6.1.0-1-amd64", [])],
)
def test_a_peer_memory_module_is_told_from_another_build_and_from_one_that_is_unused(
    tmp_path, on_disk_now, running, stale
):
    path = f"/lib/modules/{NEW}/extra/nv_peer_mem.ko"
    names = ("nv_peer_mem", "nvidia_peermem", "nvidia")
    rows = [{"name": name, "path": path, "kernel": NEW} for name in names]
    files = {
        "/proc/modules": "nv_peer_mem 1 3 - Live 0x0\nnvidia_peermem 1 0 - Live 0x0\n",
        "/sys/module/nv_peer_mem/notes/.note.gnu.build-id": ONE,
        "/sys/module/nvidia/notes/.note.gnu.build-id": ONE,
        path: core(on_disk_now),
    }
    found = rdma_stack.peer_memory(planted(tmp_path, files), rows, running)
    assert (found["in_use"], found["stale"]) == (["nv_peer_mem"], stale)


def test_symbols_of_another_kind_or_of_another_kernel_are_no_headers(tmp_path):
    files = {
        "/proc/sys/kernel/osrelease": "6.1.0-40-amd64\n",
        "/lib/modules/5.15.0-25-generic/build/Module.symvers": HEADERS,
        "/usr/src/ofa_kernel/default/Module.symvers": HEADERS.replace("_client", "_client_ex"),
    }
    assert rdma_stack.peer_memory(planted(tmp_path, files), [], NEW)["headers"] is False


def test_a_host_without_rdma_has_none(tmp_path):
    tree = planted(tmp_path)
    assert rdma_stack.devices(tree) == []
    assert rdma_stack.stack(tree, []) == {"kind": "inbox", "version": ""}
    assert rdma_stack.peer_memory(tree, [], NEW) == {
        "loaded": [],
        "in_use": [],
        "stale": [],
        "clients": [],
        "at_boot": [],
        "headers": False,
        "client_ex": False,
        "outdated": [],
    }


@given(st.dictionaries(st.sampled_from(sorted(FILES)), st.binary()), st.binary())
def test_no_content_is_an_error(rubbish, other):
    files = {
        **FILES,
        "/proc/modules": other,
        "/proc/sys/kernel/osrelease": other,
        "/etc/modules": other,
        **OFED_INFO,
        "/usr/src/ofa_kernel/default/Module.symvers": other,
        **rubbish,
    }

    def look(tree):
        return (
            rdma_stack.devices(tree),
            rdma_stack.survey(tree, [], NEW),
            rdma_stack.peer_memory(tree, [], NEW),
        )

    ((device,), stack, peers) = looked_at(look, files, LINKS, {"ofed_info": other})
    assert [type(value) for value in device.values()] == [str] * 5 + [int] * 2 + [list] * 2
    assert [type(value) for value in stack.values()] == [str, str, list, bool, bool, list]
    assert [type(value) for value in peers.values()] == [list] * 5 + [bool] * 2 + [list]


CORE_FILES = sorted(running(ONE, "A1", data=core(OTHER)))


@given(
    st.dictionaries(st.sampled_from(CORE_FILES), st.binary()),
    st.integers(0, 1000),
    st.integers(0, 255),
)
def test_no_content_of_a_core_is_an_error(rubbish, place, byte):
    data = bytearray(core(OTHER, "B2"))
    data[place % len(data)] = byte
    files = {**running(ONE, "A1", data=bytes(data)), **rubbish}
    found = looked_at(
        lambda tree: rdma_stack.survey(tree, [], NEW), files, answers={"zstd": b"\x7fELF"}
    )
    assert [type(value) for value in found.values()] == [str, str, list, bool, bool, list]


@example("\0")
@given(st.text(st.characters(codec="utf-8")))
def test_no_line_of_modules_dep_is_an_error(path):
    dep = {f"/lib/modules/{NEW}/modules.dep": f"{path}/ib_core.ko: {path}\n"}
    files = {**running(ONE, data=core(OTHER)), **dep}
    assert looked_at(lambda tree: rdma_stack.is_stale(tree, NEW), files) in (True, False)
